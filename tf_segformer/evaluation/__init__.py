"""How well a model segments photographs whose masks are known: `tf-segformer evaluate`.

`parity miou` compares two frameworks by counting code of its own; this evaluates one model.
"""
