/** A fresh Postgres server on 127.0.0.1 with a private data folder, ended and removed by `stop`. */
import { randomBytes } from "node:crypto";
import { chown, mkdir, readdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { type Child, startChild } from "./child.ts";
import { installDebian } from "./debian.ts";
import { freePort } from "./free-port.ts";
import { attempt, type Found, missing, type PartOptions } from "./part.ts";
import { findIn, isRoot, run } from "./run.ts";
import { tempDir } from "./temp-dir.ts";

/** A running server with one superuser and no database but its own. */
export interface Postgres {
  /** A `postgres://` URL with user and password, of the database `postgres`. */
  url: string;
  /** Ends the server at once, whoever is connected, and removes its data. */
  stop(): Promise<void>;
}

/** How the server is to keep data. */
export interface PostgresOptions extends PartOptions {
  /** Whether commits reach the disk, for benches and crash tests. Default: false. */
  durable?: boolean | undefined;
}

const debianBinaries = "/usr/lib/postgresql";
const adminName = "devmesh";
const initdbLimitMs = 120_000;
const readyLimitMs = 60_000;
const queryLimitMs = 5_000;

/** Not waiting for the disk: right for data that does not outlive a test. */
const volatile = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/** Starts a server that answers queries when this resolves (two or three seconds). */
export async function startPostgres(options: PostgresOptions = {}): Promise<Found<Postgres>> {
  let binaries = await binaryFolder();
  if (!binaries) {
    const installed = await installDebian(["postgresql"], options);
    if (!installed.ok) return installed;
    binaries = await binaryFolder();
  }
  if (!binaries)
    return missing(
      "no Postgres server was found",
      "put the folder with initdb, postgres and psql on PATH",
    );
  const found = binaries;
  return await attempt("see that Postgres can run from the temp folder", () =>
    start(found, options.durable ?? false),
  );
}

/** A folder on PATH that has all the server's binaries, or the newest that Debian has. */
async function binaryFolder(): Promise<string | undefined> {
  const onPath = (process.env.PATH ?? "").split(delimiter).find(hasBinaries);
  if (onPath) return onPath;
  const versions = await readdir(debianBinaries).catch(() => []);
  return versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(debianBinaries, version, "bin"))
    .find(hasBinaries);
}

function hasBinaries(folder: string): boolean {
  return ["initdb", "postgres", "psql"].every((name) => findIn(name, [folder]) !== undefined);
}

async function start(binaries: string, durable: boolean): Promise<Postgres> {
  const owner = await serverUser();
  const folder = await tempDir("postgres");
  try {
    if (owner.uid !== undefined && owner.gid !== undefined) {
      await chown(folder.path, owner.uid, owner.gid);
    }
    const password = randomBytes(18).toString("base64url");
    await initialise(binaries, folder.path, password, owner, durable);
    const port = await freePort();
    const child = await serve(binaries, folder.path, port, owner, durable);
    const stop = () => child.stop().finally(folder.remove);
    return { url: `postgres://${adminName}:${password}@127.0.0.1:${port}/postgres`, stop };
  } catch (error: unknown) {
    await folder.remove();
    throw error;
  }
}

/** The user that the server's processes run as; none is named where they run as we do. */
interface ServerUser {
  uid?: number;
  gid?: number;
}

/** Postgres refuses to run as root. */
async function serverUser(): Promise<ServerUser> {
  if (!isRoot()) return {};
  const [uid, gid] = await Promise.all(
    ["-u", "-g"].map((which) => run("id", [which, "postgres"], { timeoutMs: queryLimitMs })),
  );
  return { uid: Number(uid), gid: Number(gid) };
}

async function initialise(
  binaries: string,
  folder: string,
  password: string,
  owner: ServerUser,
  durable: boolean,
): Promise<void> {
  const passwordPath = join(folder, "password");
  await writeFile(passwordPath, password, { mode: 0o600 });
  const sockets = join(folder, "sockets");
  await mkdir(sockets, { mode: 0o700 });
  if (owner.uid !== undefined && owner.gid !== undefined) {
    await chown(passwordPath, owner.uid, owner.gid);
    await chown(sockets, owner.uid, owner.gid);
  }
  const args = [
    ...["--pgdata", join(folder, "data"), "--username", adminName, "--pwfile", passwordPath],
    ...["--auth-local", "trust", "--auth-host", "scram-sha-256"],
    ...["--encoding", "UTF8", "--locale", "C.UTF-8"],
    ...(durable ? [] : ["--no-sync"]),
  ];
  await run(join(binaries, "initdb"), args, { ...owner, cwd: folder, timeoutMs: initdbLimitMs });
}

async function serve(
  binaries: string,
  folder: string,
  port: number,
  owner: ServerUser,
  durable: boolean,
): Promise<Child> {
  const sockets = join(folder, "sockets");
  const settings = ["listen_addresses=127.0.0.1", ...(durable ? [] : volatile)];
  const args = [
    ...["-D", join(folder, "data"), "-k", sockets, "-p", String(port)],
    ...settings.flatMap((setting) => ["-c", setting]),
  ];
  const query = [
    "-X",
    "-h",
    sockets,
    "-p",
    String(port),
    "-U",
    adminName,
    "-d",
    "postgres",
    "-Atc",
  ];
  return await startChild(join(binaries, "postgres"), args, {
    ...owner,
    cwd: folder,
    logPath: join(folder, "postgres.log"),
    ready: async () => {
      const answer = await run(join(binaries, "psql"), [...query, "select 1"], {
        ...owner,
        cwd: folder,
        timeoutMs: queryLimitMs,
      });
      return answer.trim() === "1";
    },
    readyTimeoutMs: readyLimitMs,
    // SIGTERM would wait for every client to leave.
    stopSignal: "SIGINT",
    exitSignal: "SIGQUIT",
  });
}
