"""The peer for throughput: a tuned scan service in Python, as one would write it with what PyPI has.

FastAPI on uvicorn (uvloop, httptools) with one worker, OpenCV's libjpeg-turbo for luma, zxing-cpp for one symbol, then for
all it can. Run: uvicorn fastapi_scan:app --app-dir benches/peers --port 0 --no-access-log --log-level warning
Needs: fastapi, uvicorn[standard], opencv-python-headless, zxing-cpp.
"""

import re

import cv2
import numpy
import zxingcpp
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI()
FORMATS = [zxingcpp.BarcodeFormat.QRCode, zxingcpp.BarcodeFormat.Code128]
PAYMENT_CODE = re.compile(r"(1[0-5]|2[5-9]|30)\d{16}")
cv2.setNumThreads(1)


def kind(text):
    code = PAYMENT_CODE.fullmatch(text)
    if code:
        return {"kind": "payment_code", "wallet": "wechat_pay" if text[0] == "1" else "alipay"}
    return {"kind": "number"}


@app.post("/scan")
async def scan(request: Request):
    body = await request.body()
    luma = cv2.imdecode(numpy.frombuffer(body, numpy.uint8), cv2.IMREAD_GRAYSCALE)
    found = zxingcpp.read_barcodes(luma, formats=FORMATS, try_rotate=False, try_downscale=False, try_invert=False)
    found = found or zxingcpp.read_barcodes(luma, formats=FORMATS)
    return JSONResponse([{"text": one.text, **kind(one.text)} for one in found])
