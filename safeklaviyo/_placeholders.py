"""What stands where an id should be, and is none: placeholders, marks for NULL, and ids that an export has spoilt (R1).

Decided here: the one list, each kind with the programs that write it. `identity` refuses what is on it, so that calls,
`bindings.add` and imported files all have the same list. Two guests with one mark would become one customer (F-37).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORDS: Final = frozenset({
    # What programs call "no value": JavaScript, Python, Ruby, Swift, Julia, Haskell, Perl, C++, .NET.
    "", "null", "nil", "none", "undefined", "nan", "-nan", "missing", "nothing", "undef", "nullptr", "dbnull",
    "system.dbnull", "optional.empty", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "true", "false",
    # PHP and JavaScript write these for a value that is no text at all.
    "array", "object", "object object",
    # pandas and numpy: missing numbers and dates, as `to_csv` writes them and `read_csv` knows them.
    "nat", "pd.na", "np.nan", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
    # R; Hive's name for the partition of NULL.
    "na", "na_character_", "na_integer_", "na_real_", "__hive_default_partition__",
    # What people and forms write.
    "n/a", "n.a", "n.a.", "not available", "not applicable", "unknown", "anonymous", "anon", "guest", "not set",
    "no value", "blank", "empty", "-1", "\u2013", "\u2014",
    # The name of the field in place of what it holds, and mParticle's word for a visitor.
    "id", "distinct_id", "distinctid", "external_id", "user_id", "userid", "customer_id", "email", "not_authenticated",
})  # fmt: skip

_WRAPPING: Final = " \t\r\n\"'`\\«»“”\u2018\u2019"
_ZERO_CHARACTERS: Final = "0.-+{}"
# A template that was sent before it was filled in: Liquid, Jinja, ERB, JavaScript, Mailchimp, Salesforce, PHP.
_TEMPLATE: Final = re.compile(r"\{\{.*\}\}|\{%.*%\}|\$\{.*\}|<%.*%>|%{1,2}\w+%{1,2}|\*\|.*\|\*|\$[a-z_]\w*")
_HEX: Final = r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"  # a UUID, which .NET also writes in {} or ()

_PLACEHOLDER: Final = "is a placeholder or a blocked value, which would make strangers one customer"
# In lower case. The reason completes the sentence "the external_id ...".
_SPOILT: Final = tuple((re.compile(pattern), reason) for pattern, reason in (
    # PostgreSQL's COPY, MySQL's OUTFILE, Hive.
    (r"\\+n", "is a mark for NULL"),
    # Excel and Google Sheets: the values of cells that hold an error, and a column that is too narrow.
    (r"#(?:n/a(?: n/a)?|null!|ref!|value!|name\?|div/0!|num!|spill!|calc!|error!|field!|blocked!|getting_data|#+)",
     "is an error of a spreadsheet"),
    # Shopify's customer export, and each spreadsheet that was told to take a number for text.
    (r"['\u2018\u2019`](?:.*[^'\u2018\u2019`])", "begins with an apostrophe, which spreadsheets put before text"),
    (r"=\".*\"", "is a formula of a spreadsheet"),
    (r"\".*\"|'.*'|`.*`|«.*»|“.*”|\u2018.*\u2019", "stands in quotation marks"),
    # Excel, pandas and R write a long number so, or a column of integers in which one is missing.
    (r"[+-]?\d+(?:[.,]\d+)?e[+-]\d+|[+-]?\d+[.,]\d+e\d+", "is a number with an exponent, which may have lost digits"),
    (r"[+-]?\d+[.,]0*", "is a number with a decimal point"),
    (r"[+-]?\d{1,3}(?:[,'\u2019]\d{3})+(?:\.\d+)?", "is a number with separators"),
    # DBeaver, pgAdmin, DataGrip, HeidiSQL and Oracle's SQL Developer write NULL in brackets; Python, JavaScript, Ruby
    # and Go write lists, mappings, structures and pointers so. A UUID in brackets is .NET's usual form and stays.
    (rf"(?!\{{{_HEX}\}}|\({_HEX}\))(?:\[.*\]|\{{.*\}}|\(.*\)|&\{{.*\}}|map\[.*\]|#?[\w.]*<.*>)",
     "is a mark for NULL, or the text of an object in place of its id"),
    # Python, Django, Ruby, Swift, Rust, Kotlin, MongoDB: Customer object (None), UUID('…'), Optional(nil), Some(7).
    (r"[a-z_][\w.:]*\(.*\)|[\w.]+ object (?:\(.*\)|at 0x[0-9a-f]+)|(?:object|resource) id #\d+|just \S+|%!\w\(.*\)",
     "is the text of an object in place of its id"),
    # Java's records, Kotlin's data classes, Go's and Elixir's structures, JavaScript's promises and functions.
    (r"[%&]?[a-z_][\w.]* ?[\[{].*[\]}]|%\{.*\}|(?:async )?function\b.*|\(?\w*\)? ?=> ?.*",
     "is the text of an object in place of its id"),
    # Dart, Lua.
    (r"instance of '.*'|(?:table|userdata|thread): 0x[0-9a-f]+", "is the text of an object in place of its id"),
    # Python's bytes, Java's and .NET's default text.
    (r"[bru]{1,2}['\"].*['\"]|[\w.$\[;]+@[0-9a-f]{5,8}|system\.(?:object|string|u?int\d\d|guid|byte|collections|linq|nullable)\b.*",
     "is the text of an object in place of its id"),
    # A text that was escaped for a web page, or read in another encoding than it was written in.
    (r".*&(?:#\d+|#x[0-9a-f]+|nbsp|amp|quot|apos|lt|gt);.*", "was escaped for a web page"),
    (r".*\ufffd.*|\?+", "was read in another encoding than it was written in"),
))  # fmt: skip

# Most ids are made of these alone. No mark and no spoilt form above is, so a glance is enough.
_ORDINARY: Final = re.compile(r"[A-Za-z0-9_-]+")


def is_placeholder(text: str, blocked: frozenset[str] = frozenset()) -> bool:
    """Tell whether a value is a placeholder rather than an identifier, in any case and however often quoted."""
    if _ORDINARY.fullmatch(text):
        return _is_word(text, blocked)
    # NFKC first: full-width letters and digits are read as the plain ones that they look like.
    bare = unicodedata.normalize("NFKC", text).strip(_WRAPPING).lower()
    if bare in _WORDS or bare in blocked or text.lower() in blocked:
        return True
    # Brackets around a word are a database tool's: (null), [null], <null>.
    if bare[:1] in "([<{" and bare[-1:] in ")]>}" and bare[1:-1].strip() in _WORDS:
        return True
    is_zero = not bare.strip(_ZERO_CHARACTERS)  # 0, 000, 0.0, and the zero UUID in each of its spellings
    return is_zero or bool(_TEMPLATE.fullmatch(bare))


def is_ordinary_id(text: str, blocked: frozenset[str] = frozenset()) -> bool:
    """Tell whether a text surely is an id: nothing but letters, digits, ``_`` and ``-``, and no placeholder."""
    return _ORDINARY.fullmatch(text) is not None and not _is_word(text, blocked)


def why_no_id(text: str, blocked: frozenset[str] = frozenset()) -> str | None:
    """Return why a text is no id: a placeholder, or what an export or a conversion has made of an id; else None."""
    if _ORDINARY.fullmatch(text):
        return _PLACEHOLDER if _is_word(text, blocked) else None
    if is_placeholder(text, blocked):
        return _PLACEHOLDER
    folded = unicodedata.normalize("NFKC", text).lower()
    reason = next((reason for pattern, reason in _SPOILT if pattern.fullmatch(folded)), None)
    return None if reason is None else f"{reason}; give the id as your database has it"


def _is_word(text: str, blocked: frozenset[str]) -> bool:
    word = text.lower()
    return word in _WORDS or word in blocked or not word.strip("0-")
