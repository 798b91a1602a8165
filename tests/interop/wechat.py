"""The published client `wechatpayv3`, unmodified but for its address, against a running sandbox.

    python wechat.py SANDBOX_URL DIR certificate|public_key

Each check is an assertion; the first that does not hold ends the run. What is asked for here leaves one violation in the
sandbox's books by intention: the refund past the order, which only the wallet's own rest stops.
"""

import csv
import gzip
import hashlib
import io
import json
import queue
import sys
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from wechatpayv3 import WeChatPay, WeChatPayType

sandbox, folder, mode = sys.argv[1], Path(sys.argv[2]) / "wechat", sys.argv[3]
params = json.loads((folder / "params.json").read_text())
news = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    """The merchant's own address for notifications."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        news.put((dict(self.headers.items()), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def control(method, path, body=None):
    request = urllib.request.Request(sandbox + path, method=method)
    data = None if body is None else json.dumps(body).encode()
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, data) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def client(certificates):
    keys = {"cert_dir": str(certificates)}
    if mode == "public_key":
        keys = {
            "public_key": (folder / "platform_public_key.pem").read_text(),
            "public_key_id": params["platform_public_key_id"],
        }
    pay = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=params["mchid"],
        private_key=(folder / "merchant_key.pem").read_text(),
        cert_serial_no=params["merchant_serial"],
        apiv3_key=params["apiv3_key"],
        appid=params["appid"],
        notify_url=f"http://127.0.0.1:{receiver.server_port}/",
        **keys,
    )
    pay._core._gate_way = params["base_url"]
    return pay


def ok(answer, code=200):
    status, text = answer
    assert status == code, f"{status} instead of {code}: {text}"
    return json.loads(text) if text else None


def refused(answer, status, code):
    got, text = answer
    assert (got, json.loads(text)["code"]) == (status, code), f"{got}: {text}"


def until(what, check):
    for _ in range(200):
        value = check()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"never came: {what}")


receiver = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()

# the client starts with the certificate that the folder holds, and fetches others by itself
certificates = Path(sys.argv[2]) / f"sdk-certificates-{mode}"
certificates.mkdir(exist_ok=True)
(certificates / f"{params['platform_serial']}.pem").write_text((folder / "platform_cert.pem").read_text())
pay = client(certificates)

run = f"{mode[:4].upper()}{int(time.time() * 1000)}"
order_no = f"IT-{run}"
order = control("POST", "/_sandbox/orders", {"wallet": "wechat", "out_trade_no": order_no, "amount_fen": 1000})

# the order, by both numbers
for found in (ok(pay.query(out_trade_no=order_no)), ok(pay.query(transaction_id=order["transaction_id"]))):
    assert found["trade_state"] == "SUCCESS", found
    assert found["amount"]["total"] == 1000, found
    assert (found["out_trade_no"], found["transaction_id"]) == (order_no, order["transaction_id"]), found
refused(pay.query(out_trade_no=f"NONE-{run}"), 404, "ORDER_NOT_EXIST")


def refund(number, fen, **more):
    amount = {"refund": fen, "total": 1000, "currency": "CNY"}
    notify = f"http://127.0.0.1:{receiver.server_port}/"
    return pay.refund(out_refund_no=number, out_trade_no=order_no, amount=amount, notify_url=notify, **more)


# part of it, and the same number again: one refund
first = ok(refund(f"R1-{run}", 300, reason="退款：少一件 ☕"))
assert first["status"] == "PROCESSING" and first["amount"]["refund"] == 300, first
again = ok(refund(f"R1-{run}", 300, reason="退款：少一件 ☕"))
assert again["refund_id"] == first["refund_id"], (first, again)
refused(pay.query_refund(f"NONE-{run}"), 404, "RESOURCE_NOT_EXISTS")

# the notification, verified and decrypted by the client; a byte altered is not believed
headers, body = news.get(timeout=20)
told = pay.callback(headers, body)
assert told["event_type"] == "REFUND.SUCCESS", told
assert told["resource"]["out_refund_no"] == f"R1-{run}", told
assert told["resource"]["refund_status"] == "SUCCESS" and told["resource"]["amount"]["refund"] == 300, told
assert not pay.callback(headers, body.replace(b"REFUND.SUCCESS", b"REFUND.CLOSED ")), "an altered body was believed"
end = until("the refund's end", lambda: (r := ok(pay.query_refund(f"R1-{run}")))["status"] == "SUCCESS" and r)
assert end["refund_id"] == first["refund_id"] and end["amount"]["refund"] == 300, end

# the rest in a second refund, and one past it
time.sleep(float(sys.argv[4]) if len(sys.argv) > 4 else 0.5)  # the wallet's minute, compressed
second = ok(refund(f"R2-{run}", 500))
assert second["refund_id"] != first["refund_id"]
time.sleep(float(sys.argv[4]) if len(sys.argv) > 4 else 0.5)
status, text = refund(f"R3-{run}", 201)
assert status == 400, f"past the order: {status} {text}"
status, text = refund(f"R2-{run}", 501)
assert status == 400, f"the same number, another amount: {status} {text}"
books = control("GET", f"/_sandbox/orders/{order_no}?wallet=wechat")
assert books["refunded_fen"] == 800, books

# a refund that can't be paid out goes to a bank card, whose number the client encrypts for the wallet
order_no = f"IA-{run}"
control("POST", "/_sandbox/orders", {"wallet": "wechat", "out_trade_no": order_no, "amount_fen": 1000})
control("POST", "/_sandbox/faults", {"wallet": "wechat", "operation": "refund", "kind": "abnormal", "times": 1})
stuck = ok(refund(f"A1-{run}", 1000))
until("a refund that is stuck", lambda: ok(pay.query_refund(f"A1-{run}"))["status"] == "ABNORMAL")
card = {"bank_type": "CMB_DEBIT", "bank_account": "6225880100000000", "real_name": "张三"}
paid = ok(pay.abnormal_refund(stuck["refund_id"], f"A1-{run}", "USER_BANK_CARD", **card))
assert paid["status"] == "PROCESSING" and paid["refund_id"] == stuck["refund_id"], paid
until("the payout", lambda: ok(pay.query_refund(f"A1-{run}"))["status"] == "SUCCESS")
refused(pay.abnormal_refund(stuck["refund_id"], f"A1-{run}", "USER_BANK_CARD", **card), 400, "INVALID_REQUEST")

# new certificates in mid-run: the client meets a serial that it doesn't know, and fetches
control("POST", "/_sandbox/rotate")
assert ok(pay.query(out_trade_no=order_no))["trade_state"] == "REFUND"

# the bill of today, which agrees with the books
today = datetime.now(timezone(timedelta(hours=8))).strftime("%Y-%m-%d")
bill = ok(pay.trade_bill(today, bill_type="ALL", tar_type="GZIP"))
status, content = pay.download_bill(bill["download_url"])
assert status == 200, (status, content)
plain = gzip.decompress(content)
assert bill["hash_type"] == "SHA1" and hashlib.sha1(plain).hexdigest() == bill["hash_value"].lower(), bill
rows = list(csv.reader(io.StringIO(plain.decode("utf-8-sig"))))
mine = [row for row in rows if any(f"R1-{run}" in cell or f"R2-{run}" in cell for cell in row)]
assert len(mine) == 2, f"two refunds, {len(mine)} rows in the bill"
print(f"wechatpayv3, {mode}: ok")
