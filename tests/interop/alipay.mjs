// The published client `alipay-sdk`, unmodified but for its address, against a running sandbox.
//
//     node alipay.mjs SANDBOX_URL DIR public_key|certificate
//
// Each check is an assertion; the first that does not hold ends the run. What is asked for here leaves one violation in the
// sandbox's books by intention: the refund past the order, which only the wallet's own rest stops.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { AlipaySdk } from 'alipay-sdk';

const [sandbox, dir, mode] = process.argv.slice(2);
const folder = path.join(dir, 'alipay');
const params = JSON.parse(fs.readFileSync(path.join(folder, 'params.json'), 'utf8'));
const file = (name) => path.join(folder, name);

const keys =
  mode === 'certificate'
    ? {
        appCertPath: file('app_cert.pem'),
        alipayPublicCertPath: file('alipay_cert.pem'),
        alipayRootCertPath: file('alipay_root_cert.pem'),
      }
    : { alipayPublicKey: fs.readFileSync(file('alipay_public_key.pem'), 'utf8') };
const sdk = new AlipaySdk({
  appId: params.app_id,
  privateKey: fs.readFileSync(file('app_private_key.pem'), 'utf8'),
  keyType: 'PKCS8',
  encryptKey: params.aes_key,
  gateway: params.gateway_url,
  ...keys,
});

const control = async (method, url, body) => {
  const answer = await fetch(sandbox + url, {
    method,
    body: body && JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  assert(answer.ok, `${method} ${url}: ${answer.status}`);
  return answer.json();
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const paceMs = 1000 * Number(process.argv[5] ?? 0.5); // the wallet's three seconds, compressed

// the merchant's own address for the payment's notifications
const news = [];
const receiver = http.createServer((request, response) => {
  let body = '';
  request.on('data', (piece) => (body += piece));
  request.on('end', () => {
    news.push(Object.fromEntries(new URLSearchParams(body)));
    response.end('success');
  });
});
await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
const notify = `http://127.0.0.1:${receiver.address().port}/notify`;

const run = `${mode.slice(0, 4)}${Date.now()}`;
const orderNo = `IT${run}`;
const order = await control('POST', '/_sandbox/orders', {
  wallet: 'alipay', out_trade_no: orderNo, amount_fen: 1000, notify_url: notify,
});

// the order, by both numbers
for (const number of [{ outTradeNo: orderNo }, { tradeNo: order.transaction_id }]) {
  const found = await sdk.exec('alipay.trade.query', { bizContent: number });
  assert.equal(found.code, '10000', JSON.stringify(found));
  assert.equal(found.tradeStatus, 'TRADE_SUCCESS');
  assert.equal(found.totalAmount, '10.00');
}
const none = await sdk.exec('alipay.trade.query', { bizContent: { outTradeNo: `NONE${run}` } });
assert.equal(none.subCode, 'ACQ.TRADE_NOT_EXIST', JSON.stringify(none));

// part of it, and the same number again: one refund
const refund = (number, yuan, more = {}) =>
  sdk.exec('alipay.trade.refund', {
    bizContent: { outTradeNo: orderNo, outRequestNo: number, refundAmount: yuan, refundReason: '少一件 + a/b ☕' },
    ...more,
  });
const first = await refund(`R1${run}`, '3.00');
assert.deepEqual([first.code, first.fundChange, first.refundFee], ['10000', 'Y', '3.00'], JSON.stringify(first));
const again = await refund(`R1${run}`, '3.00');
assert.deepEqual([again.code, again.fundChange, again.refundFee], ['10000', 'N', '3.00'], JSON.stringify(again));

// the refund query: ours, and a number that was never used
const asked = await sdk.exec('alipay.trade.fastpay.refund.query', {
  bizContent: { outTradeNo: orderNo, outRequestNo: `R1${run}` },
});
assert.deepEqual([asked.refundStatus, asked.refundAmount, asked.outRequestNo], ['REFUND_SUCCESS', '3.00', `R1${run}`]);
const never = await sdk.exec('alipay.trade.fastpay.refund.query', {
  bizContent: { outTradeNo: orderNo, outRequestNo: `NEVER${run}` },
});
assert.notEqual(never.refundStatus, 'REFUND_SUCCESS', JSON.stringify(never));

// encrypted content, there and back
await pause(paceMs);
const second = await refund(`R2${run}`, '5.00', { needEncrypt: true });
assert.deepEqual([second.code, second.fundChange, second.refundFee], ['10000', 'Y', '8.00'], JSON.stringify(second));

// past the order, and the same number with another amount
await pause(paceMs);
const past = await refund(`R3${run}`, '2.01');
assert.equal(past.subCode, 'ACQ.REASON_TRADE_REFUND_FEE_ERR', JSON.stringify(past));
const other = await refund(`R2${run}`, '5.01');
assert.equal(other.subCode, 'ACQ.DISCORDANT_REPEAT_REQUEST', JSON.stringify(other));
const books = await control('GET', `/_sandbox/orders/${orderNo}?wallet=alipay`);
assert.equal(books.refunded_fen, 800, JSON.stringify(books));

// the notification rides on the payment's address; verified by the client, and not once a value is altered
for (let tries = 0; news.length === 0 && tries < 200; tries += 1) await pause(50);
assert(news.length > 0, 'no notification came');
assert.equal(sdk.checkNotifySignV2(news[0]), true, JSON.stringify(news[0]));
assert.equal(news[0].out_trade_no, orderNo);
assert(['3.00', '8.00'].includes(news[0].refund_fee), JSON.stringify(news[0]));
assert.equal(sdk.checkNotifySignV2({ ...news[0], refund_fee: '9.99' }), false, 'an altered notification was believed');

// the bill of today
const today = new Date(Date.now() + 8 * 3600 * 1000).toISOString().slice(0, 10);
const bill = await sdk.exec('alipay.data.dataservice.bill.downloadurl.query', {
  bizContent: { billType: 'trade', billDate: today },
});
assert.equal(bill.code, '10000', JSON.stringify(bill));
const zip = Buffer.from(await (await fetch(bill.billDownloadUrl)).arrayBuffer());
assert.equal(zip.subarray(0, 2).toString(), 'PK', 'the bill is a zip');
console.log(`alipay-sdk, ${mode}: ok`);
receiver.close();
