"""The published client `python-alipay-sdk`, unmodified but for its address, against a running sandbox.

    python alipay_python.py SANDBOX_URL DIR certificate|public_key

Each check is an assertion; the first that does not hold ends the run. What is asked for here leaves one violation in the
sandbox's books by intention: the refund past the order, which only the wallet's own rest stops.
"""

import http.server
import json
import queue
import sys
import threading
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayValidationError

sandbox, folder, mode = sys.argv[1], Path(sys.argv[2]) / "alipay", sys.argv[3]
pace_s = float(sys.argv[4]) if len(sys.argv) > 4 else 0.5  # the wallet's three seconds, compressed
params = json.loads((folder / "params.json").read_text())
news = queue.Queue()


def text(name):
    return (folder / name).read_text()


class Receiver(http.server.BaseHTTPRequestHandler):
    """The merchant's own address for notifications."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        news.put(dict(urllib.parse.parse_qsl(body, keep_blank_values=True)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"success")

    def log_message(self, *_):
        pass


def control(method, path, body=None):
    request = urllib.request.Request(sandbox + path, method=method)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, None if body is None else json.dumps(body).encode()) as answer:
        return json.loads(answer.read())


common = {"appid": params["app_id"], "app_private_key_string": text("app_private_key.pem")}
if mode == "certificate":
    pay = DCAliPay(
        app_public_key_cert_string=text("app_cert.pem"),
        alipay_public_key_cert_string=text("alipay_cert.pem"),
        alipay_root_cert_string=text("alipay_root_cert.pem"),
        **common,
    )
else:
    pay = AliPay(alipay_public_key_string=text("alipay_public_key.pem"), **common)
pay._gateway = params["gateway_url"]

receiver = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
run = f"{mode[:4]}{int(time.time() * 1000)}"
order_no = f"PY{run}"
order = control(
    "POST",
    "/_sandbox/orders",
    {"wallet": "alipay", "out_trade_no": order_no, "amount_fen": 1000, "notify_url": f"http://127.0.0.1:{receiver.server_port}/"},
)

# the order, by both numbers
for number in ({"out_trade_no": order_no}, {"trade_no": order["transaction_id"]}):
    found = pay.api_alipay_trade_query(**number)
    assert (found["code"], found["trade_status"], found["total_amount"]) == ("10000", "TRADE_SUCCESS", "10.00"), found
none = pay.api_alipay_trade_query(out_trade_no=f"NONE{run}")
assert none["sub_code"] == "ACQ.TRADE_NOT_EXIST", none


def refund(number, yuan):
    return pay.api_alipay_trade_refund(
        refund_amount=yuan, out_trade_no=order_no, out_request_no=number, refund_reason="少一件 + a/b ☕"
    )


# part of it, and the same number again: one refund
first, again = refund(f"R1{run}", "3.00"), refund(f"R1{run}", "3.00")
assert (first["fund_change"], first["refund_fee"]) == ("Y", "3.00"), first
assert (again["fund_change"], again["refund_fee"]) == ("N", "3.00"), again
asked = pay.api_alipay_trade_fastpay_refund_query(f"R1{run}", out_trade_no=order_no)
assert (asked["refund_status"], asked["refund_amount"]) == ("REFUND_SUCCESS", "3.00"), asked
never = pay.api_alipay_trade_fastpay_refund_query(f"NEVER{run}", out_trade_no=order_no)
assert never.get("refund_status") != "REFUND_SUCCESS", never

# past the order, and the same number with another amount
time.sleep(pace_s)
past = refund(f"R2{run}", "7.01")
assert past["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR", past
other = refund(f"R1{run}", "3.01")
assert other["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST", other
books = control("GET", f"/_sandbox/orders/{order_no}?wallet=alipay")
assert books["refunded_fen"] == 300, books

# the notification rides on the payment's address; verified by the client, and not once a value is altered
told = news.get(timeout=20)
sign = told.pop("sign")
assert pay.verify(dict(told), sign), told
assert (told["out_trade_no"], told["refund_fee"]) == (order_no, "3.00"), told
assert not pay.verify({**told, "refund_fee": "9.99"}, sign), "an altered notification was believed"

# the bill of today; an answer whose signature is wrong is not believed
today = datetime.now(timezone(timedelta(hours=8))).strftime("%Y-%m-%d")
bill = pay.server_api("alipay.data.dataservice.bill.downloadurl.query", {"bill_type": "trade", "bill_date": today})
with urllib.request.urlopen(bill["bill_download_url"]) as answer:
    assert answer.read(2) == b"PK", "the bill is a zip"
control("POST", "/_sandbox/faults", {"wallet": "alipay", "operation": "query_order", "kind": "bad_signature", "times": 1})
try:
    pay.api_alipay_trade_query(out_trade_no=order_no)
    raise SystemExit("a wrong signature was believed")
except AliPayValidationError:
    pass
print(f"python-alipay-sdk, {mode}: ok")
