/**
 * A stand-in for jailer and Firecracker, written from their public descriptions: it takes the
 * jailer's words, listens where Firecracker would, keeps to the order of its requests, and
 * plays a guest behind its socket. Arguments: how it behaves, where it notes requests, then
 * those of the jailer.
 */
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSocketServer, type Socket } from "node:net";
import { basename, join } from "node:path";
import {
  decodeList,
  encodeFrame,
  encodeList,
  encodeU32,
  FrameReader,
  frameType,
} from "../../services/vm/drivers/resident/frames.ts";

const [how = "", notes = "", ...words] = process.argv.slice(2);
const after = (name: string) => words[words.indexOf(name) + 1] ?? "";
const root = join(
  after("--chroot-base-dir"),
  basename(after("--exec-file")),
  after("--id"),
  "root",
);

writeFileSync(notes, `${JSON.stringify({ jailer: words })}\n`);
if (how === "dies") process.exit(1);

const seen = new Set<string>();
const api = createServer((request, response) => {
  let text = "";
  request.on("data", (part) => {
    text += part;
  });
  request.on("end", () => {
    const body = text === "" ? undefined : JSON.parse(text);
    appendFileSync(
      notes,
      `${JSON.stringify({ method: request.method, path: request.url, body })}\n`,
    );
    const refuse = (fault: string) => {
      response.writeHead(400, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ fault_message: fault }));
    };
    const isStart = body?.action_type === "InstanceStart";
    if (how === "refuses" && request.url === "/boot-source")
      return refuse("The kernel is no kernel");
    if (how === "breaks" && request.url === "/vsock") {
      response.writeHead(500);
      return response.end("<html>");
    }
    if (how === "closes" && isStart) return response.destroy();
    if (how === "is silent" && isStart) return;
    if (how === "ends" && isStart) process.exit(7);
    if (isStart && !["/machine-config", "/boot-source", "/vsock"].every((path) => seen.has(path))) {
      return refuse("The machine is not complete");
    }
    for (const file of [body?.kernel_image_path, body?.initrd_path, body?.path_on_host]) {
      if (file && !existsSync(join(root, file))) return refuse(`No such file: ${file}`);
    }
    seen.add(request.url ?? "");
    if (isStart) playGuest();
    response.writeHead(204);
    response.end();
  });
});
// As in a jail, whose paths begin here.
process.chdir(root);
api.listen("api.sock");

const files: Readonly<Record<string, string>> = {
  "/sys/fs/cgroup/job/pids.max": "512\n",
  "/sys/fs/cgroup/job/cpu.max": "100000 100000\n",
  "/sys/fs/cgroup/job/memory.max": `${256 << 20}\n`,
  "/sys/fs/cgroup/job/cpu.stat": "usage_usec 5000\nthrottled_usec 0\n",
  "/sys/fs/cgroup/job/memory.current": "4096\n",
  "/sys/fs/cgroup/job/memory.peak": "8192\n",
  "/sys/fs/cgroup/job/pids.current": "1\n",
  "/sys/fs/cgroup/job/pids.events": "max 0\n",
  "statfs:/work": `4096 ${how === "has the wrong disk" ? 99_999 : 24_000} 23000 100 90`,
};
const uid = how === "runs as root" ? 0 : 1000;
const ids = `${uid}\t${uid}\t${uid}\t${uid}`;
const none = "0000000000000000";
const programs: Readonly<Record<string, string>> = {
  "cat /proc/self/status": `Uid:\t${ids}\nGid:\t1000\t1000\t1000\t1000\nCapPrm:\t${none}\nCapEff:\t${none}\nCapBnd:\t${none}\nNoNewPrivs:\t1\nSeccomp:\t2\n`,
  "cat /proc/self/mountinfo": "22 1 254:0 / / ro,relatime - ext4 /dev/root ro\n",
  "cat /proc/self/net/dev": "Inter-|\n face |\n    lo: 0 0\n",
  "sh -c readlink /proc/self/ns/*": "net:[1]\npid:[2]\n",
  "echo hi": "hi\n",
};

function playGuest(): void {
  const server = createSocketServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (line) => {
      if (how === "has no resident") return socket.end();
      if (how === "answers noise") return socket.write(Buffer.alloc(5_000, "n"));
      if (line.toString() !== "CONNECT 1024\n") return socket.end();
      socket.write("OK 1073741824\n");
      if (how === "has a silent guest") return;
      if (how === "has a mad guest") return socket.write(Buffer.alloc(64, 0xff));
      resident(socket);
    });
  });
  server.listen("vsock.sock");
}

function resident(socket: Socket): void {
  const reader = new FrameReader();
  const send = (...frame: Parameters<typeof encodeFrame>) => socket.write(encodeFrame(...frame));
  send(frameType.hello, 0);
  socket.on("data", (bytes: Buffer) => {
    for (const { type, stream, payload } of reader.push(bytes)) {
      if (type === frameType.config) {
        const isRefused = how === "cannot be set up";
        send(
          isRefused ? frameType.failed : frameType.ready,
          0,
          isRefused ? encodeList(["config", 0, "no clock"]) : Buffer.alloc(0),
        );
      } else if (type === frameType.read) {
        const text = files[payload.toString()];
        const head = encodeU32(text === undefined ? 2 : 0);
        send(frameType.read, stream, Buffer.concat([head, Buffer.from(text ?? "")]));
      } else if (type === frameType.open) {
        const [, , count = "0", ...rest] = decodeList(payload);
        const output = programs[rest.slice(0, Number(count)).join(" ")] ?? "";
        send(frameType.started, stream);
        if (output !== "") send(frameType.data, stream, Buffer.from(output));
        send(frameType.eof, stream);
        send(frameType.exit, stream, Buffer.concat([encodeU32(0), Buffer.from([0])]));
      }
    }
  });
}
