/**
 * Finds the embedded models' files where devmesh keeps what it fetched. Fetching
 * them is left to others.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** The files there are. */
export interface ModelFiles {
  /** A `.gguf` file. */
  readonly chatModelPath: string | undefined;
  /** A `model.onnx` with a `tokenizer.json` beside it. */
  readonly embeddingModelPath: string | undefined;
}

/**
 * Looks into the folders below `cacheDir/models` and `cacheDir`, in the order
 * of their names, and takes the first of each kind.
 */
export function findModels(cacheDir: string): ModelFiles {
  const folders = [join(cacheDir, "models"), cacheDir].flatMap((parent) =>
    list(parent).map((name) => join(parent, name)),
  );
  let chatModelPath: string | undefined;
  let embeddingModelPath: string | undefined;
  for (const folder of folders) {
    if (folder.endsWith(".tmp")) continue;
    const names = list(folder);
    const gguf = names.find((name) => name.endsWith(".gguf"));
    if (gguf !== undefined) chatModelPath ??= join(folder, gguf);
    if (names.includes("model.onnx") && names.includes("tokenizer.json")) {
      embeddingModelPath ??= join(folder, "model.onnx");
    }
  }
  return { chatModelPath, embeddingModelPath };
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    // No folder, no models.
    return [];
  }
}
