"""Write ``vault/*/cases.json``: templates, contexts, and what they must become.

Expected outputs come from Jinja2, set up to speak this example's small language, so that they do not rest on the
engine that is being optimised. Everything is drawn from a keyed hash: the same Jinja2 gives the same bytes.

    python prepare.py [FOLDER]      # default: the folder of this file
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import jinja2
from jinja2.runtime import LoopContext
from markupsafe import Markup, escape

KEY = "evalkit/templates/1"
TEMPLATES = {"dev": 10, "confirm": 20, "sealed": 10}
CONTEXTS = 16
"""Contexts of every template. A pair of template and context stands in no session twice."""

WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet"),
    *("jetty", "knoll", "ledge", "marsh", "north", "ocean", "plaza", "quay", "ridge"),
)
HOSTILE = [
    "<script>alert(1)</script>",
    "a & b",
    'say "hi"',
    "it's",
    "x < y > z",
    "&amp;",
    "{{ name }}",
    "{% if x %}",
    "naïve café",
    "日本語 & more",
    "",
    " spaced ",
    "0",
    "line\nbreak",
]

EDGES = [
    "{{ missing }}|{{ user.missing.deeper }}|{{ items.99 }}",
    "{{ user.admin }}{{ 0 }}{{ -3 }}{{ 2.50 }}{{ words | first | default(none) }}",
    "{{ title }}{{ title | safe }}{{ title | escape }}{{ title | escape | safe }}{{ title | safe | upper }}",
    "{{ '<b>' }}{{ \"it's\" }}{{ 'say \"hi\"' | safe }}",
    "{% raw %}{{ not.this }} {% if x %} {# kept #}{% endraw %}{{ title }}",
    "{# {{ gone }} #}a{# #}b",
    "a  {{- title -}}  b {%- if flag -%}  c  {%- endif -%}  d",
    "{% for item in empty %}x{% else %}none{% endfor %}",
    "{% for item in missing %}x{% endfor %}.",
    "{% for item in items %}{% set last = item.name %}{{ last }},{% endfor %}[{{ last }}]",
    "{% if flag %}{% set a = 1 %}{% else %}{% set a = 2 %}{% endif %}{{ a }}",
    (
        "{% for item in items %}{% for item in item.tags %}{{ item }}{% if not loop.last %}+{% endif %}{% endfor %}"
        "/{{ item.name }};{% endfor %}"
    ),
    (
        "{% for row in items %}{{ loop.index }}{% for tag in row.tags %}{{ loop.index }}{% endfor %}"
        "{{ loop.last }}{% endfor %}"
    ),
    "{% if not flag and count > 2 or title == 'x' %}A{% elif count < 3 %}B{% else %}C{% endif %}",
    "{% if (flag or count) and not (flag and count) %}xor{% else %}same{% endif %}",
    "{% if 'amber' in words %}yes{% endif %}{% if count in words %}no{% endif %}{% if 'a' in title %}in{% endif %}",
    (
        "{{ words | join(', ') }}|{{ words | first }}|{{ words | last }}|{{ words | reverse | join }}|"
        "{{ empty | join('-') }}"
    ),
    "{{ words | length }}{{ title | length }}{{ missing | length }}{{ empty | first }}",
    "{{ title | truncate(5) }}|{{ title | truncate }}|{{ count | round(2) }}|{{ price | round }}",
    "{{ title | replace('<', '[') }}|{{ title | replace('&', 'and') | upper }}",
    "{{ missing | default('a & b') }}|{{ empty | default('e') }}|{{ count | default(7) }}|{{ '' | default }}",
    "{{ title | trim | title }}|{{ title | lower }}|{{ title | reverse }}",
    "{% set title = title | upper %}{{ title }}{% for item in items %}{{ title }}{% endfor %}",
    "{{ items.0.name }}{{ items.1.tags.0 }}{{ user.address.city }}",
    (
        "{% for word in words %}{% if loop.first %}[{% endif %}{{ word }}{% if loop.last %}]{% else %}, "
        "{% endif %}{% endfor %}"
    ),
    (
        "{{ title == title }}{% if 1 == 1.0 and '1' != 1 %}numbers{% endif %}"
        "{% if none or false %}never{% endif %}{% if true %}{{ title }}{% endif %}{{ none == missing | default(none) }}"
    ),
    "plain text, no tags at all: } } % # { and a lone }}",
    "",
    "{{ 'a' }}{{ 'b' }}\n\n{{ 'c' }}\n",
    "{{ title",
    "{{ title }} {% if flag %} never closed",
    "{% for item in items %}{{ item.name }}",
    "{% endif %}",
    "{{ title | nosuchfilter }}",
    "{{ }}",
    "{{ title title }}",
    "{% if flag %}a{% else %}b{% else %}c{% endif %}",
    "{% for items %}{% endfor %}",
    "{% unknown %}",
    "{{ 'open }}",
]


def rng_of(*parts: object) -> random.Random:
    """Random numbers that depend on nothing but the key and the parts."""
    return random.Random(hashlib.sha256(repr((KEY, *parts)).encode()).digest())


def text(rng: random.Random) -> str:
    """A few words, one time in three with something that must be escaped."""
    words = rng.choices(WORDS, k=rng.randint(1, 4))
    if rng.random() < 0.34:
        words[rng.randrange(len(words))] = rng.choice(HOSTILE)
    return " ".join(words)


def context(rng: random.Random) -> dict[str, Any]:
    """Values for every name that templates use."""
    rows = rng.randint(4, 9)
    return {
        "title": text(rng),
        "flag": rng.random() < 0.5,
        "count": rng.randint(0, 5),
        "price": round(rng.uniform(0, 500), 3),
        "empty": [],
        "words": rng.sample(WORDS, rng.randint(1, 6)),
        "user": {
            "name": text(rng),
            "admin": rng.random() < 0.3,
            "address": {"city": text(rng), "zip": rng.randint(1000, 9999)},
        },
        "items": [
            {
                "name": text(rng),
                "price": round(rng.uniform(1, 99), 2),
                "sold": rng.random() < 0.3,
                "tags": rng.sample(WORDS, rng.randint(0, 3)),
            }
            for _ in range(rows)
        ],
    }


def value(rng: random.Random) -> str:
    """An expression to show, from the names at the top of a context."""
    return rng.choice(
        [
            "title",
            "user.name | title",
            "user.address.city | upper",
            "user.address.zip",
            "price | round(2)",
            "words | join(', ')",
            "items | length",
            "user.nickname | default('nobody')",
            "title | truncate(12) | lower",
            "words | first",
            "count",
            "flag",
        ]
    )


def piece(rng: random.Random, depth: int = 0) -> str:
    """A piece of a template."""
    tag = rng.choice(["div", "p", "td", "li"])
    kind = rng.choices(["show", "if", "for", "table", "set"], [4, 2, 1 if depth < 2 else 0, 2 if depth < 1 else 0, 1])[
        0
    ]
    if kind == "show":
        return f'<{tag} title="{{{{ {value(rng)} }}}}">{{{{ {value(rng)} }}}}</{tag}>\n'
    if kind == "if":
        test = rng.choice(
            ["flag", "not flag and count > 2", "user.admin or count == 0", "'amber' in words", "count < 3"]
        )
        return f"{{% if {test} %}}{piece(rng, depth + 1)}{{%- else -%}}{piece(rng, depth + 1)}{{% endif %}}\n"
    if kind == "set":
        name = rng.choice(["total", "label"])
        return f"{{% set {name} = {value(rng)} %}}<{tag}>{{{{ {name} }}}}</{tag}>\n"
    if kind == "for":
        return "<ul>{% for word in words %}<li>{{ loop.index }}: {{ word | title }} {{ title }}</li>{% endfor %}</ul>\n"
    cell = rng.choice(
        [
            "item.price | round(1)",
            "item.tags | reverse | join(' & ') | upper | truncate(12)",
            "item.name | trim | replace('e', 'E') | truncate(15)",
            "item.missing | default(item.other) | default('-')",
        ]
    )
    test = rng.choice(
        [
            "item.sold and not item.missing and not (item.price < 2 or item.price > 98)",
            "item.price > 50 and (item.tags | length > 1 or not item.sold)",
            "not item.tags or 'amber' in item.tags or 'birch' in item.tags and not flag",
            "loop.first or loop.last or loop.index == 3 or loop.index == 5",
        ]
    )
    return (
        "<table>{% for item in items %}<tr>"
        f"<td>{{{{ loop.index }}}}</td><td>{{{{ item.name }}}}</td><td>{{{{ {cell} }}}}</td>"
        f"{{% if {test} %}}<b>{{{{ item.name | truncate(9) }}}}</b>"
        "{% elif count > 7 or user.admin and flag %}!{% endif %}"
        "{% for tag in item.tags %}{{ tag | upper | first }}{% if not loop.last %}, {% endif %}{% endfor %}"
        "</tr>{% else %}<tr></tr>{% endfor %}</table>\n"
    )


def template(rng: random.Random) -> str:
    """A page of a few pieces, one of them a table, which is where the work is."""
    pieces = [piece(rng) for _ in range(rng.randint(2, 4))]
    table = next(found for found in (piece(rng) for _ in range(1000)) if found.startswith("<table>"))
    pieces.insert(rng.randrange(len(pieces) + 1), table)
    return f"<h{rng.randint(1, 3)}>{{{{ title }}}}</h>\n" + "".join(pieces)


def reference() -> Any:
    """A function from template and context to the answer that is right, by Jinja2."""

    class Undefined(jinja2.ChainableUndefined):
        """Nothing: empty, false, in no order."""

        def __lt__(self, other: object) -> bool:
            return False

        __gt__ = __lt__

    class Environment(jinja2.Environment):
        """Reaches keys of objects and places of lists, no attributes."""

        def getitem(self, obj: Any, argument: Any) -> Any:
            if isinstance(obj, LoopContext):
                return getattr(obj, argument)
            try:
                return obj[argument]
            except (TypeError, LookupError):
                return self.undefined()

        getattr = getitem

    def plain(item: object) -> str:
        return str(shown(item))

    def shown(item: object) -> object:
        if item is None:
            return ""
        return str(item).lower() if isinstance(item, bool) else item

    environment = Environment(autoescape=True, undefined=Undefined, finalize=shown, keep_trailing_newline=True)
    environment.filters = {
        "upper": lambda item: plain(item).upper(),
        "lower": lambda item: plain(item).lower(),
        "title": lambda item: plain(item).title(),
        "trim": lambda item: plain(item).strip(),
        "length": len,
        "default": lambda item, other="": item or other,
        "join": lambda item, by="": by.join(map(plain, item)),
        "truncate": lambda item, n=20: plain(item) if len(plain(item)) <= n else plain(item)[: n - 1] + "…",
        "first": lambda item: next(iter(item), None),
        "last": lambda item: next(iter(item[::-1]), None),
        "replace": lambda item, old, new: plain(item).replace(old, new),
        "reverse": lambda item: item[::-1],
        "round": lambda item, digits=0: f"{item:.{digits}f}",
        "escape": lambda item: escape(shown(item)),
        "safe": lambda item: Markup(plain(item)),  # noqa: S704 - that is what `safe` means
    }

    def answer(source: str, values: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"output": environment.from_string(source).render(values)}
        except jinja2.TemplateSyntaxError:
            return {"error": True}

    return answer


def cases(split: str, right: Any) -> list[dict[str, Any]]:
    """The cases of a split: pages in many contexts, and every edge case in one context of the split's own."""
    drawn = []
    for number in range(TEMPLATES[split]):
        source = template(rng_of(split, "template", number))
        drawn += [(f"page {number}", source, rng_of(split, number, place)) for place in range(CONTEXTS)]
    drawn += [(f"edge {number}", source, rng_of(split, "edge", number)) for number, source in enumerate(EDGES)]
    result = []
    for family, source, rng in drawn:
        values = context(rng)
        result.append({"family": family, "template": source, "context": values, "answer": right(source, values)})
    return result


def main() -> None:
    """Write all splits and say how large they are."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    right = reference()
    for split in TEMPLATES:
        path = folder / "vault" / split / "cases.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases(split, right)) + "\n]\n"
        )
        print(f"{path.stat().st_size:7d}  {path}")


if __name__ == "__main__":
    main()
