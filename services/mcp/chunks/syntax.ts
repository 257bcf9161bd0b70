/** Sections of code by its syntax tree; the tree is only walked where a piece is too big. */
import type { Node } from "web-tree-sitter";
import type { Section } from "./cut.ts";

const functionPattern = /function|method|constructor|arrow|closure|lambda/;
const namedPattern =
  /function|method|constructor|class|interface|struct|enum|trait|impl|module|namespace|type|declaration|definition|macro|record|mod_item|const|static|export/;

/** The sections below a node: its named children; comments go with what follows them. */
export function syntaxSections(root: Node): Section[] {
  return sectionsBelow(root, "", false);
}

function sectionsBelow(parent: Node, outer: string, inFunction: boolean): Section[] {
  return parent.namedChildren
    .filter((node) => node !== null && !node.type.includes("comment"))
    .map((node) => {
      const name = inFunction || !namedPattern.test(node.type) ? "" : nameOf(node, 0);
      const title = withName(outer, name);
      const { row, column } = node.endPosition;
      return {
        startRow: node.startPosition.row,
        endRow: column === 0 ? row : row + 1,
        title,
        parts: () => sectionsBelow(node, title, inFunction || functionPattern.test(node.type)),
      };
    });
}

/** A wrapper such as `export` and what it wraps give the same name: it counts once. */
function withName(outer: string, name: string): string {
  if (outer === "" || name === "") return outer || name;
  return outer === name || outer.endsWith(`.${name}`) ? outer : `${outer}.${name}`;
}

/** The name that a declaration gives, through wrappers such as `export` and decorators. */
function nameOf(node: Node, depth: number): string {
  if (depth > 4) return "";
  const name = node.childForFieldName("name");
  if (name !== null) return oneLine(name.text);
  if (node.type === "impl_item") return oneLine(node.childForFieldName("type")?.text ?? "");
  for (const field of ["declaration", "definition", "declarator"]) {
    const inner = node.childForFieldName(field);
    if (inner !== null) return nameOf(inner, depth + 1);
  }
  if (/identifier$/.test(node.type)) return oneLine(node.text);
  const declarator = node.namedChildren.find((child) =>
    /(declarator|_spec)$/.test(child?.type ?? ""),
  );
  return declarator ? nameOf(declarator, depth + 1) : "";
}

const oneLine = (text: string) => text.replaceAll(/\s+/g, " ").slice(0, 100);
