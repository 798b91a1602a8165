// The published client `wechatpay-axios-plugin`, unmodified but for its address, against a running sandbox.
//
//     node wechat_node.mjs SANDBOX_URL DIR public_key|certificate PACE_S
//
// Each check is an assertion; the first that does not hold ends the run. What is asked for here leaves one violation in the
// sandbox's books by intention: the refund past the order, which only the wallet's own rest stops.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import zlib from 'node:zlib';
import { Aes, Formatter, Rsa, Wechatpay } from 'wechatpay-axios-plugin';

const [sandbox, dir, mode, pace] = process.argv.slice(2);
const folder = path.join(dir, 'wechat');
const text = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
const params = JSON.parse(text('params.json'));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const control = async (url, body) => {
  const method = body ? 'POST' : 'GET';
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(sandbox + url, { method, headers, body: body && JSON.stringify(body) });
  assert(answer.ok, `${method} ${url}: ${answer.status}`);
  return answer.json();
};
// The wallet chooses what a notification is signed with: a client with a public key holds the certificate as well.
const certs = { [params.platform_serial]: text('platform_cert.pem') };
if (mode === 'public_key') certs[params.platform_public_key_id] = text('platform_public_key.pem');
const wxpay = new Wechatpay({
  baseURL: `${params.base_url}/`, mchid: params.mchid, serial: params.merchant_serial,
  privateKey: text('merchant_key.pem'), certs,
});
// with a public key the client names it, and the wallet signs with it
const headers = mode === 'public_key' ? { 'Wechatpay-Serial': params.platform_public_key_id } : {};

const news = [];
const receiver = http.createServer((request, response) => {
  let body = '';
  request.on('data', (piece) => (body += piece));
  request.on('end', () => {
    news.push({ headers: request.headers, body });
    response.writeHead(204).end();
  });
});
await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));

const run = `${mode.slice(0, 4)}${Date.now()}`;
const orderNo = `NX-${run}`;
const order = await control('/_sandbox/orders', { wallet: 'wechat', out_trade_no: orderNo, amount_fen: 1000 });
const refusal = async (call) => {
  try {
    await call;
  } catch (error) {
    assert(error.response, String(error));
    return { status: error.response.status, code: error.response.data.code };
  }
  return assert.fail('was not refused');
};

// the order, by both numbers
const query = { params: { mchid: params.mchid }, headers };
const transactions = wxpay.v3.pay.transactions;
for (const call of [
  transactions.outTradeNo.$out_trade_no$.get({ ...query, out_trade_no: orderNo }),
  transactions.id.$transaction_id$.get({ ...query, transaction_id: order.transaction_id }),
]) {
  const { data, headers: answered } = await call;
  assert.equal(answered['wechatpay-serial'], Object.keys(certs).at(-1)); // the key that was asked for
  assert.deepEqual([data.trade_state, data.amount.total, data.out_trade_no], ['SUCCESS', 1000, orderNo]);
}
const unknown = transactions.outTradeNo.$out_trade_no$.get({ ...query, out_trade_no: `NONE-${run}` });
assert.deepEqual(await refusal(unknown), { status: 404, code: 'ORDER_NOT_EXIST' });

// part of it, and the same number again: one refund
const refund = (number, fen) =>
  wxpay.v3.refund.domestic.refunds.post(
    {
      out_trade_no: orderNo, out_refund_no: number, reason: '退款：少一件 ☕',
      notify_url: `http://127.0.0.1:${receiver.address().port}/`,
      amount: { refund: fen, total: 1000, currency: 'CNY' },
    },
    { headers },
  );
const first = (await refund(`R1-${run}`, 300)).data;
assert.deepEqual([first.status, first.amount.refund], ['PROCESSING', 300]);
assert.equal((await refund(`R1-${run}`, 300)).data.refund_id, first.refund_id);

// the notification, verified and decrypted with the client's tools; a byte altered is not believed
for (let tries = 0; news.length === 0 && tries < 400; tries += 1) await pause(50);
assert(news.length > 0, 'no notification came');
const { headers: heads, body } = news[0];
const verified = (content) =>
  Rsa.verify(
    Formatter.response(heads['wechatpay-timestamp'], heads['wechatpay-nonce'], content),
    heads['wechatpay-signature'],
    Rsa.from(certs[heads['wechatpay-serial']], Rsa.KEY_TYPE_PUBLIC),
  );
assert(certs[heads['wechatpay-serial']], `signed by ${heads['wechatpay-serial']}`);
assert.equal(verified(body), true);
assert.equal(verified(body.replace('REFUND.SUCCESS', 'REFUND.CLOSED ')), false);
const { resource } = JSON.parse(body);
const told = JSON.parse(
  Aes.AesGcm.decrypt(resource.ciphertext, params.apiv3_key, resource.nonce, resource.associated_data),
);
assert.deepEqual([told.out_refund_no, told.refund_status, told.amount.refund], [`R1-${run}`, 'SUCCESS', 300]);
const end = await wxpay.v3.refund.domestic.refunds.$out_refund_no$.get({ out_refund_no: `R1-${run}`, headers });
assert.equal(end.data.status, 'SUCCESS');

// past the order, and the same number with another amount
await pause(1000 * Number(pace ?? 0.5)); // the wallet's minute, compressed
assert.equal((await refusal(refund(`R2-${run}`, 701))).status, 400);
assert.equal((await refusal(refund(`R1-${run}`, 301))).status, 400);
assert.equal((await control(`/_sandbox/orders/${orderNo}?wallet=wechat`)).refunded_fen, 300);

// the bill of today, by the hash that a signed answer names
const today = new Date(Date.now() + 8 * 3600 * 1000).toISOString().slice(0, 10);
const bill = (
  await wxpay.v3.bill.tradebill.get({ params: { bill_date: today, bill_type: 'ALL', tar_type: 'GZIP' }, headers })
).data;
const place = new URL(bill.download_url);
const file = await wxpay.v3.billdownload.file.get({
  params: Object.fromEntries(place.searchParams), responseType: 'arraybuffer', headers,
});
const plain = zlib.gunzipSync(Buffer.from(file.data));
assert.equal(crypto.createHash('sha1').update(plain).digest('hex'), bill.hash_value.toLowerCase());
assert.equal(plain.toString().split('\n').filter((row) => row.includes(`R1-${run}`)).length, 1);

// an answer whose signature is wrong is not believed
await control('/_sandbox/faults', { wallet: 'wechat', operation: 'query_order', kind: 'bad_signature', times: 1 });
await assert.rejects(
  transactions.outTradeNo.$out_trade_no$.get({ ...query, out_trade_no: orderNo }),
  (error) => error.code === 'EV3_RES_HEADER_SIGNATURE_DIGEST',
);
console.log(`wechatpay-axios-plugin, ${mode}: ok`);
receiver.close();
