/**
 * A real Ollama server with a small chat model and, where it can be had, an embedding model.
 * The server's binary must be on PATH; nothing here gets it.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { cacheDir, withLock } from "./cache.ts";
import { startChild } from "./child.ts";
import { freePort } from "./free-port.ts";
import { ensureChatModel, ensureSafetensorsModel } from "./models.ts";
import {
  chatRecipe,
  createModel,
  embeddingRecipe,
  recipesKey,
  servedModels,
} from "./ollama-models.ts";
import { attempt, type Found, missing, type PartOptions } from "./part.ts";
import { findOnPath } from "./run.ts";
import { tempDir } from "./temp-dir.ts";

/** A server that lists its models. */
export interface Ollama {
  /** Of the server's root: `/api/…` and `/v1/…` are below it. */
  url: string;
  chatModel: string;
  /** Left out when its files cannot be had. It gives 384 dimensions. */
  embeddingModel?: string;
  /** Ends the server and its model processes; the models stay in the cache folder. */
  stop(): Promise<void>;
}

const readyLimitMs = 60_000;
const answerLimitMs = 2_000;
const createWaitMs = 600_000;

/** Starts a server on a free port of 127.0.0.1 (a second; some more on the first call). */
export async function startOllama(options: PartOptions = {}): Promise<Found<Ollama>> {
  const binary = findOnPath("ollama");
  if (!binary) return missing("ollama is not on PATH", "put the Ollama binary on PATH");
  const chat = await ensureChatModel(options);
  if (!chat.ok) return chat;
  const embedding = await ensureSafetensorsModel(options);
  if (!embedding.ok) options.log?.(`no embedding model: ${embedding.reason}`);
  const recipes = [
    chatRecipe(chat.value),
    ...(embedding.ok ? [embeddingRecipe(embedding.value)] : []),
  ];
  const remedy = "see that this Ollama runs on this processor (AVX2) and has some 500 MB of memory";
  return await attempt(remedy, async () => {
    const models = join(cacheDir(), `ollama-${recipesKey(recipes)}`);
    await mkdir(models, { recursive: true });
    const server = await serve(binary, models);
    try {
      await withLock("ollama-create", createWaitMs, async () => {
        const served = await servedModels(server.url);
        for (const recipe of recipes) {
          if (served.includes(recipe.name)) continue;
          options.log?.(`creating ${recipe.name} in Ollama`);
          await createModel(server.url, recipe);
        }
      });
      const served = await servedModels(server.url);
      const absent = recipes.find((recipe) => !served.includes(recipe.name));
      if (absent) throw new Error(`the server does not list ${absent.name} after creating it`);
      const [chatModel, embeddingModel] = recipes.map((recipe) => recipe.name);
      if (chatModel === undefined) throw new Error("there is no chat model");
      return { ...server, chatModel, ...(embeddingModel && { embeddingModel }) };
    } catch (error: unknown) {
      await server.stop();
      throw error;
    }
  });
}

async function serve(
  binary: string,
  models: string,
): Promise<{ url: string; stop(): Promise<void> }> {
  const home = await tempDir("ollama");
  const host = `127.0.0.1:${await freePort()}`;
  const url = `http://${host}`;
  try {
    const child = await startChild(binary, ["serve"], {
      cwd: home.path,
      logPath: join(home.path, "ollama.log"),
      env: {
        HOME: home.path,
        OLLAMA_HOST: host,
        OLLAMA_MODELS: models,
        OLLAMA_NUM_PARALLEL: "1",
        // Another server may be creating a model in the same folder just now.
        OLLAMA_NOPRUNE: "1",
      },
      ready: async () => {
        const signal = AbortSignal.timeout(answerLimitMs);
        const answer = await fetch(`${url}/api/version`, { signal });
        await answer.body?.cancel();
        return answer.ok;
      },
      readyTimeoutMs: readyLimitMs,
    });
    return { url, stop: () => child.stop().finally(home.remove) };
  } catch (error: unknown) {
    await home.remove();
    throw error;
  }
}
