"""Images that are none, are mislabelled, cut off or too large, as a chat's data URLs hold them."""

import base64
from typing import Final

from tests.support.pictures import PDF, gif, jpeg, png, webp


def _url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


REFUSED: Final = {
    "no base64": "data:image/png;base64,!!!!",
    "nothing": "data:image/png;base64,",
    "no data": "data:image/png;base64",
    "an SVG": _url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    "a page": _url(b"<!doctype html><script>alert(1)</script>"),
    "a PDF": _url(PDF),
    "a FITS": _url(b"SIMPLE  =                    T" + bytes(2850)),
    "a BMP": _url(b"BM" + bytes(100)),
    "a TIFF": _url(b"II*\0" + bytes(100)),
    "a PNG cut off in its first bytes": _url(png()[:4]),
    "a PNG of 50,000 by 50,000": _url(png(50_000, 50_000)),
    "a GIF of 50,000 by 50,000": _url(gif(50_000, 50_000), "image/gif"),
    "a JPEG of 50,000 by 50,000": _url(jpeg(50_000, 50_000), "image/jpeg"),
    "a WebP of 16,000 by 16,000": _url(webp(16_000, 16_000), "image/webp"),
    "a file of the server": "file:///etc/passwd",
}
SERVED: Final = {
    "a GIF called a PNG": _url(gif()),
    "line breaks": _url(png())[:40] + "\r\n" + _url(png())[40:],
    "a PNG with a page behind it": _url(png() + b"<script>alert(1)</script>"),
    "a GIF of ten thousand frames": _url(gif() + (b"\x2c" + bytes(9)) * 10_000, "image/gif"),
}
