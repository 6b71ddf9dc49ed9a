"""A small template language: variables, filters, conditions, loops, escaping. ``render`` is all that others call.

    {{ user.name | title | default("nobody") }}      escaped for HTML unless `safe` is the last filter
    {% if a and not b %} … {% elif n > 3 %} … {% else %} … {% endif %}
    {% for item in items %} {{ loop.index }} {{ item }} {% else %} none {% endfor %}
    {% set total = items | length %}   {# a comment #}   {% raw %} {{ as it is }} {% endraw %}

``{%-`` and ``-%}`` (and the same with ``{{``) eat the white space on their side. A path that leads nowhere is empty.
Expressions: strings, numbers, true, false, none, paths (``a.b.0``), ``| filter(args)``, ``== != < > in``, ``not``,
``and``, ``or``. Whatever is malformed raises TemplateError.
"""

from __future__ import annotations


class TemplateError(ValueError):
    """The template is malformed."""


class Safe(str):
    """Text that is HTML already."""

    __slots__ = ()


CLOSERS = {"{{": "}}", "{%": "%}", "{#": "#}"}
OPERATORS = ("==", "!=", "<", ">", "|", "(", ")", ",", "=")
WORDS = {"true": True, "false": False, "none": None}
END = ("end", "")


# Cutting a template into tokens: ("text" | "{{" | "{%", content)


def find(needle, source, start):
    """Where ``needle`` stands in ``source`` from ``start`` on, or -1."""
    for at in range(start, len(source) - len(needle) + 1):
        if source[at : at + len(needle)] == needle:
            return at
    return -1


def tokens_of(source):
    tokens = []
    text = ""
    at = 0
    while at < len(source):
        opener = next((found for found in CLOSERS if source.startswith(found, at)), "")
        if not opener:
            text = text + source[at]
            at += 1
            continue
        end = find(CLOSERS[opener], source, at + 2)
        if end < 0:
            raise TemplateError("a tag is not closed")
        content = source[at + 2 : end]
        at = end + 2
        if content.startswith("-"):
            text, content = text.rstrip(), content[1:]
        if content.endswith("-"):
            content = content[:-1]
            while at < len(source) and source[at].isspace():
                at += 1
        tokens.append(("text", text))
        text = ""
        if opener == "{%" and content.strip() == "raw":
            end = find("{% endraw %}", source, at)
            if end < 0:
                raise TemplateError("raw is not closed")
            tokens.append(("text", source[at:end]))
            at = end + len("{% endraw %}")
        elif opener != "{#":
            tokens.append((opener, content.strip()))
    tokens.append(("text", text))
    return tokens


# Expressions


def lex(expression):
    parts = []
    rest = expression.strip()
    while rest:
        if rest[0] in "\"'":
            text, rest = quoted(rest)
            parts.append(("string", text))
        elif operator := next((found for found in OPERATORS if rest.startswith(found)), ""):
            parts.append(("operator", operator))
            rest = rest[len(operator) :]
        else:
            word = ""
            while rest and (rest[0].isalnum() or rest[0] in "_.-"):
                word = word + rest[0]
                rest = rest[1:]
            if not word:
                raise TemplateError(f"{rest[0]!r} does not belong in an expression")
            parts.append(("word", word))
        rest = rest.lstrip()
    return parts


def quoted(rest):
    """The string literal that ``rest`` starts with, and what follows it."""
    quote = rest[0]
    text = ""
    rest = rest[1:]
    while rest and rest[0] != quote:
        if rest[0] == "\\" and len(rest) > 1:
            rest = rest[1:]
        text = text + rest[0]
        rest = rest[1:]
    if not rest:
        raise TemplateError("a string is not closed")
    return text, rest[1:]


class Expression:
    """Evaluates while it parses; every evaluation starts from the text."""

    def __init__(self, text, scope):
        self.parts = lex(text)
        self.scope = scope

    def peek(self):
        return self.parts[0] if self.parts else END

    def take(self, *expected):
        if not self.parts or (expected and self.parts[0] not in expected):
            raise TemplateError("an expression is malformed")
        return self.parts.pop(0)

    def value(self):
        result = self.either()
        if self.parts:
            raise TemplateError("an expression goes on after its end")
        return result

    def either(self):
        left = self.both()
        while self.peek() == ("word", "or"):
            self.take()
            right = self.both()
            left = left or right
        return left

    def both(self):
        left = self.negated()
        while self.peek() == ("word", "and"):
            self.take()
            right = self.negated()
            left = left and right
        return left

    def negated(self):
        if self.peek() == ("word", "not"):
            self.take()
            return not self.negated()
        return self.compared()

    def compared(self):
        left = self.filtered()
        if self.peek() in (
            ("operator", "=="),
            ("operator", "!="),
            ("operator", "<"),
            ("operator", ">"),
            ("word", "in"),
        ):
            operator = self.take()[1]
            return compare(operator, left, self.filtered())
        return left

    def filtered(self):
        result = self.atom()
        while self.peek() == ("operator", "|"):
            self.take()
            kind, name = self.take()
            arguments = []
            if self.peek() == ("operator", "("):
                self.take()
                while self.peek() != ("operator", ")"):
                    arguments.append(self.either())
                    if self.peek() != ("operator", ")"):
                        self.take(("operator", ","))
                self.take()
            if kind != "word" or name not in FILTERS:
                raise TemplateError(f"there is no filter {name!r}")
            try:
                result = FILTERS[name](result, *arguments)
            except (TypeError, ValueError, AttributeError, LookupError):
                raise TemplateError(f"{name} can't be applied") from None
        return result

    def atom(self):
        kind, text = self.take()
        if kind == "string":
            return text
        if (kind, text) == ("operator", "("):
            result = self.either()
            self.take(("operator", ")"))
            return result
        if kind != "word":
            raise TemplateError("an expression is malformed")
        if text in WORDS:
            return WORDS[text]
        if text.lstrip("-")[:1].isdigit():
            try:
                return float(text) if "." in text else int(text)
            except ValueError:
                raise TemplateError(f"{text!r} is no number") from None
        return look_up(text, self.scope)


def compare(operator, left, right):
    try:
        if operator == "<":
            return left < right
        if operator == ">":
            return left > right
        if operator == "in":
            return left in right
    except TypeError:
        return False
    return left == right if operator == "==" else left != right


def look_up(path, scope):
    found = scope
    for name in path.split("."):
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


# Filters and output


def text_of(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        raise TypeError("only text, numbers and truth values have a text")
    return str(value)


def escape(value):
    if isinstance(value, Safe):
        return value
    result = ""
    for character in text_of(value):
        if character == "&":
            result = result + "&amp;"
        elif character == "<":
            result = result + "&lt;"
        elif character == ">":
            result = result + "&gt;"
        elif character == '"':
            result = result + "&#34;"
        elif character == "'":
            result = result + "&#39;"
        else:
            result = result + character
    return Safe(result)


def truncate(value, length=20):
    text = text_of(value)
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


FILTERS = {
    "upper": lambda value: text_of(value).upper(),
    "lower": lambda value: text_of(value).lower(),
    "title": lambda value: text_of(value).title(),
    "trim": lambda value: text_of(value).strip(),
    "length": lambda value: 0 if value is None else len(value),
    "default": lambda value, other="": value or other,
    "join": lambda value, by="": by.join(text_of(item) for item in value or []),
    "truncate": truncate,
    "first": lambda value: value[0] if value else None,
    "last": lambda value: value[-1] if value else None,
    "replace": lambda value, old, new: text_of(value).replace(old, new),
    "reverse": lambda value: value[::-1] if value else value,
    "round": lambda value, digits=0: f"{float(value):.{digits}f}",
    "escape": escape,
    "safe": lambda value: Safe(text_of(value)),
}


# Rendering: finds the end of every block by reading ahead, each time it comes along


def tag_of(token):
    kind, content = token
    return content.split(None, 1)[0] if kind == "{%" and content else ""


def branches(tokens, start, closer):
    """The bodies of the block whose tag stands at ``start``: [(tag's content, tokens)], and where the block ends."""
    depth = 0
    bodies = [(tokens[start][1], [])]
    for at in range(start + 1, len(tokens)):
        tag = tag_of(tokens[at])
        if depth == 0 and tag == closer:
            return bodies, at + 1
        if depth == 0 and tag in ("elif", "else"):
            bodies.append((tokens[at][1], []))
            continue
        if tag in ("if", "for"):
            depth += 1
        elif tag in ("endif", "endfor"):
            depth -= 1
        bodies[-1][1].append(tokens[at])
    raise TemplateError(f"{closer} is missing")


def evaluate(text, scope):
    return Expression(text, scope).value()


def shown(text, scope):
    try:
        return escape(evaluate(text, scope))
    except TypeError:
        raise TemplateError("only text, numbers and truth values can be shown") from None


def render_tokens(tokens, scope):
    output = ""
    at = 0
    while at < len(tokens):
        kind, content = tokens[at]
        tag = tag_of(tokens[at])
        if kind == "text":
            output = output + content
            at += 1
        elif kind == "{{":
            output = output + shown(content, scope)
            at += 1
        elif tag == "set":
            name, equals, expression = content[3:].partition("=")
            if not equals or not name.strip().isidentifier():
                raise TemplateError("set needs a name, = and a value")
            scope[name.strip()] = evaluate(expression, scope)
            at += 1
        elif tag == "if":
            bodies, at = branches(tokens, at, "endif")
            output = output + render_if(bodies, scope)
        elif tag == "for":
            bodies, at = branches(tokens, at, "endfor")
            output = output + render_for(bodies, scope)
        else:
            raise TemplateError(f"{content!r} is no tag that can stand here")
    return output


def render_if(bodies, scope):
    if any(head.split(None, 1)[0] == "else" for head, _ in bodies[:-1]):
        raise TemplateError("something follows else")
    for head, body in bodies:
        tag, _, condition = head.partition(" ")
        if tag == "else" or evaluate(condition, scope):
            return render_tokens(body, scope)
    return ""


def render_for(bodies, scope):
    name, word, expression = bodies[0][0][3:].strip().partition(" in ")
    if not word or not name.isidentifier() or [head for head, _ in bodies[1:]] not in ([], ["else"]):
        raise TemplateError("a for is malformed")
    items = evaluate(expression, scope) or []
    if not isinstance(items, list):
        raise TemplateError("only lists can be looped over")
    if not items:
        return render_tokens(bodies[1][1], scope) if len(bodies) > 1 else ""
    output = ""
    for index in range(len(items)):
        inner = dict(scope)
        inner[name] = items[index]
        inner["loop"] = {"index": index + 1, "first": index == 0, "last": index == len(items) - 1}
        output = output + render_tokens(bodies[0][1], inner)
    return output


def render(source, context):
    """The text of a template (a string) with a context (JSON values)."""
    return str(render_tokens(tokens_of(source), dict(context)))
