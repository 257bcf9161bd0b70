/** `npm run attack`: the suite in the repository, with the real parts that the drivers need. */
import { ensureGuest } from "../deploy/guest/ensure-guest.ts";
import { findBubblewrap } from "../scripts/parts/bubblewrap.ts";
import { ensureBaseImage, startDocker } from "../scripts/parts/docker.ts";
import { runAttack } from "./index.ts";

const argv = process.argv.slice(2);
const log = (line: string) => process.stderr.write(`${line}\n`);
const only = argv.flatMap((word, at) => (argv[at - 1] === "--driver" ? [word] : []));
const wants = (driver: string) => only.length === 0 || only.includes(driver);
const talks = argv.includes("--help") || argv.includes("-h") || argv.includes("--list");

let stop = async () => {};
try {
  if (!talks && wants("process")) await findBubblewrap({ log });
  if (!talks && (wants("docker") || wants("gvisor"))) {
    const docker = await startDocker({ log });
    if (docker.ok) {
      stop = docker.value.stop;
      const image = await ensureBaseImage(docker.value.socketPath, { log });
      process.env.DOCKER_HOST = `unix://${docker.value.socketPath}`;
      if (image.ok) process.env.DOCKER_IMAGE ??= image.value.image;
    }
  }
  if (!talks && wants("qemu")) {
    const guest = await ensureGuest({ log });
    if (guest.ok) {
      process.env.VM_GUEST_DIR ??= guest.value.guestDir;
      process.env.QEMU_BINARY ??= guest.value.binary;
    }
  }
  process.exitCode = await runAttack(argv);
} finally {
  await stop();
}
