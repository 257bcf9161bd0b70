/** Owns the identity of a vector space: vectors of two versions are never compared. */
import { createHash } from "node:crypto";
import { DevmeshError } from "@devmesh/mesh/errors";

/** The space of one model's vectors. */
export interface VectorSpace {
  /** A safe name: letters, digits and `-`. */
  readonly id: string;
  /** The embedding model, as `provider/name`. */
  readonly model: string;
  /** The length of each vector. */
  readonly dimensions: number;
}

/** A space and how far its index is. */
export interface IndexVersion extends VectorSpace {
  /** `current` answers searches; `building` is being filled to take its place. */
  readonly state: "building" | "current";
}

/** The space of a model. The same model and dimensions always give the same space. */
export function vectorSpace(model: string, dimensions: number): VectorSpace {
  const name = model
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 40);
  const hash = createHash("sha256")
    .update(JSON.stringify([model, dimensions]))
    .digest("hex");
  return { id: `${name}-${dimensions}-${hash.slice(0, 12)}`, model, dimensions };
}

/** Throws DIMENSION_MISMATCH if the vector is not of the space. */
export function checkDimensions(space: VectorSpace, vector: Float32Array): void {
  if (vector.length === space.dimensions) return;
  throw new DevmeshError(
    "DIMENSION_MISMATCH",
    `the index of ${space.model} has ${space.dimensions} dimensions, the vector has ${vector.length}`,
    { metadata: { expected: String(space.dimensions), found: String(vector.length) } },
  );
}
