"""A voice's picture: the first letter of its name on a colour that is its own. No picture of the account is stored anywhere."""

import colorsys
import hashlib
import io

SIDE = 128  # pixels


def portrait(voice: str) -> bytes:
    """Return a PNG, the same for the same name."""
    from PIL import Image, ImageDraw, ImageFont  # only where a voice gets a webhook, and never while Mynah starts

    letter = next((character for character in voice if character.isalnum()), "?").upper()
    hue = hashlib.sha256(voice.encode()).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.35, 0.45)  # dark enough for white letters
    picture = Image.new("RGB", (SIDE, SIDE), (round(255 * red), round(255 * green), round(255 * blue)))
    font = ImageFont.load_default(size=0.6 * SIDE)
    ImageDraw.Draw(picture).text((SIDE / 2, SIDE / 2), letter, fill="white", font=font, anchor="mm")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
