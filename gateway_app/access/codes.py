"""Pairing codes: made, read as people type them, and compared. A code itself is kept nowhere, only its salted hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Capital letters and digits without 0, O, 1 and I, which people take for each other."""
LENGTH = 8
"""40 bits: five guesses an hour never find one."""
SALT_BYTES = 16
NAMED = 3
"""Characters that an error names."""


class BadCode(ValueError):
    """A text that cannot be a code. Says why, and repeats no more of the text than what is wrong with it."""


def new_code() -> str:
    """A code for one person."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def new_salt() -> str:
    """16 random bytes in hexadecimal, for one code's hash."""
    return secrets.token_hex(SALT_BYTES)


def hashed(code: str, *, salt: str) -> str:
    """What is kept of a code: SHA-256 of the salt's bytes and the code, in hexadecimal."""
    return hashlib.sha256(bytes.fromhex(salt) + code.encode()).hexdigest()


def matches(code: str, *, salt: str, digest: str) -> bool:
    """Whether `digest` is the code's hash; takes as long whichever answer it is."""
    return hmac.compare_digest(hashed(code, salt=salt), digest)


def normalised(text: str) -> str:
    """The code in `text`, whatever its case, and without spaces, hyphens and other punctuation around and within.

    Letters that only look like those of the alphabet stay what they are. Raises `BadCode`.
    """
    found = "".join(
        character.upper() if character.isascii() else character for character in text if not _is_separator(character)
    )
    foreign = list(dict.fromkeys(character for character in found if character not in ALPHABET))
    if foreign:
        more = ", …" if len(foreign) > NAMED else ""
        raise BadCode(f"no code has {', '.join(map(_named, foreign[:NAMED]))}{more}; allowed: {ALPHABET}")
    if len(found) != LENGTH:
        raise BadCode(f"it has {len(found):,} characters; allowed: {LENGTH}")
    return found


def _is_separator(character: str) -> bool:
    # Z: spaces; P: punctuation; Cc and Cf: line breaks, and what cannot be seen.
    return character == "`" or unicodedata.category(character)[0] in "ZP" or not character.isprintable()


def _named(character: str) -> str:
    """A character with its name where one could take it for another."""
    if character.isascii():
        return repr(character)
    return f"{character!r} ({unicodedata.name(character, f'U+{ord(character):04X}')})"
