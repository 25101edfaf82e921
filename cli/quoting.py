"""Texts as Graphviz and Mermaid take them."""

from parser.excerpt import visible

__all__ = ["entities", "quoted"]


def quoted(*lines: str) -> str:
    """Lines as one string of DOT."""
    return '"' + "\\n".join(visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'


def entities(*lines: str) -> str:
    """Lines as one string of Mermaid, in which nothing but plain letters stands for itself."""
    return '"' + "<br/>".join("".join(map(_entity, visible(line))) for line in lines) + '"'


def _entity(character: str) -> str:
    plain = character.isalnum() or character in " ,.:/+*?-()"
    return character if plain else f"#{ord(character)};"
