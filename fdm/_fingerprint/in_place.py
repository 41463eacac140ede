"""In place: the methods and functions that change what they are given, by their names."""


def is_in_place(method: str) -> bool:
    """Whether a method is named as torch names those that change a tensor: `add_`."""
    return method.endswith("_") and not method.startswith("_") and not method.endswith("__")


CHANGING = frozenset(
    [
        "__delattr__",
        "__delitem__",
        "__iadd__",
        "__iand__",
        "__imul__",
        "__ior__",
        "__isub__",
        "__ixor__",
        "__setattr__",
        "__setitem__",
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "extendleft",
        "fill",
        "insert",
        "intersection_update",
        "itemset",
        "move_to_end",
        "partition",
        "pop",
        "popitem",
        "popleft",
        "put",
        "remove",
        "resize",
        "reverse",
        "rotate",
        "setdefault",
        "setflags",
        "sort",
        "subtract",
        "symmetric_difference_update",
        "update",
    ]
)
CHANGING_FUNCTIONS = frozenset(
    [
        "copyto",
        "delattr",
        "delitem",
        "fill_diagonal",
        "heapify",
        "heappop",
        "heappush",
        "heappushpop",
        "heapreplace",
        "iadd",
        "iand",
        "iconcat",
        "ifloordiv",
        "imatmul",
        "imod",
        "imul",
        "insort",
        "insort_left",
        "insort_right",
        "ior",
        "ipow",
        "isub",
        "itruediv",
        "ixor",
        "place",
        "put_along_axis",
        "putmask",
        "setattr",
        "setitem",
        "shuffle",
    ]
)
PLAIN_TYPES = frozenset({"list", "dict", "set", "bytearray", "deque", "OrderedDict", "Counter"})
