import { memorySource } from "@imgkit/bytes";
import { Tree, type TreeNode } from "@imgkit/core";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { type Part, vectorInput } from "../../compress/test/vector.ts";
import { decodeNode, type VectorNode } from "../../core/test/tar-vector.ts";

/** A node as the vectors of tar/1 have it; a content may also be `pseudoRandomBytes(seed, size)`, or parts as those of gzip/1 have them. */
export type Node = Omit<VectorNode, "content"> & {
  readonly content?: VectorNode["content"] | { readonly seed: number; readonly size: number } | { readonly parts: readonly Part[] };
};

/** The tree that a vector's nodes describe. */
export function treeOf(nodes: readonly Node[]): Tree {
  return Tree.from(
    nodes.map(({ content, ...node }): TreeNode => {
      if (typeof content === "object" && "seed" in content) {
        return { ...decodeNode(node), type: "file", content: memorySource(pseudoRandomBytes(content.seed, content.size)) };
      }
      if (typeof content === "object" && "parts" in content) return { ...decodeNode(node), type: "file", content: memorySource(vectorInput(content.parts)) };
      return decodeNode(content === undefined ? node : { ...node, content });
    }),
  );
}
