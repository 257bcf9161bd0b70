/** A fake server and the command line against it. */
import { FakeDevmesh, ownerSecret } from "../sdk/fake/fake-devmesh.ts";
import { type CliOptions, type CliResult, runCli } from "./run-cli.ts";

/** What the tests of the commands use. */
export interface CliBed {
  readonly fake: FakeDevmesh;
  readonly url: string;
  /** Runs with the server's URL and the owner's token in the environment. */
  cli(args: readonly string[], options?: CliOptions): Promise<CliResult>;
  close(): Promise<void>;
}

/** Starts the fake server. */
export async function openBed(): Promise<CliBed> {
  const fake = new FakeDevmesh();
  const { url, close } = await fake.listen();
  return {
    fake,
    url,
    close,
    cli: (args, options = {}) => {
      const env = { DEVMESH_URL: url, DEVMESH_TOKEN: ownerSecret, ...options.env };
      return runCli(args, { ...options, env });
    },
  };
}
