"""Tells messages that ask for nothing, such as `ok` or a thumb, so that no memory is put beside them."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain

COMMAND = re.compile(r"/[A-Za-z][\w-]*(@\w+)?(\s|$)")
"""What begins so is meant for the gateway, also where it knows no such command."""
APOSTROPHES = str.maketrans("", "", "'’`")
MOST_WORDS = 4
"""A longer message is taken to say something, whatever its words."""
WORDS = frozenset(
    chain.from_iterable(
        words.split()
        for words in (
            # English
            "ok okay k kk yes y yep yeah yup sure no n nope nah thanks thank you thx ty cheers please fine great cool",
            "nice good perfect awesome done got it lgtm right exactly agreed alright go ahead on do continue proceed",
            "next wow haha lol hm hmm",
            # German
            "ja nein nee danke dir sehr gut genau klar prima super weiter bitte passt stimmt",
            # French
            "oui non merci beaucoup bien parfait daccord vas y continue",
            # Spanish, Portuguese, Italian
            "si sí vale gracias muchas perfecto sigue sim não obrigado obrigada tudo bem grazie mille va bene",
            # Russian
            "да нет ок окей ага угу спасибо большое хорошо понятно ясно отлично супер давай дальше продолжай",
        )
    )
)


def is_small_talk(text: str) -> bool:
    """Whether nothing that is remembered could matter to the answer: a command, a nod, thanks, emoji or nothing."""
    if COMMAND.match(text.lstrip()):
        return True
    words = "".join(map(_plain, unicodedata.normalize("NFKC", text).casefold().translate(APOSTROPHES))).split()
    return len(words) <= MOST_WORDS and all(word in WORDS for word in words)


def _plain(character: str) -> str:
    """Letters and digits as they are; marks that change a letter, too, but not those that choose an emoji's looks."""
    kind = unicodedata.category(character)
    if kind[0] in "LN" or (kind[0] == "M" and not unicodedata.name(character, "").startswith("VARIATION SELECTOR")):
        return character
    return " "
