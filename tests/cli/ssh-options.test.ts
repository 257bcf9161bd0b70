/** How `runner install` and `uninstall` read the machine that they are told. */
import { expect } from "chai";
import { readArgs } from "../../cli/src/args.ts";
import { readSsh, sshOptions } from "../../cli/src/ssh-options.ts";

describe("the machine that a runner is put on", () => {
  const read = (...argv: string[]) => {
    const { user, host, port } = readSsh(readArgs(argv, sshOptions), { SSH_AUTH_SOCK: "/agent" });
    return [user, host, port];
  };

  it("is a user, a host and the port that --port names", () => {
    expect(read("me@build.example")).to.deep.equal(["me", "build.example", 22]);
    expect(read("me@build.example", "--port", "2222")).to.deep.equal(["me", "build.example", 2222]);
    expect(read("me@[fd00::1]")).to.deep.equal(["me", "fd00::1", 22]);
    expect(read("me@fd00::1")).to.deep.equal(["me", "fd00::1", 22]);
  });

  for (const [word, apart] of [
    ["me@build.example:2222", "me@build.example --port 2222"],
    ["me@[fd00::1]:2222", "me@[fd00::1] --port 2222"],
  ] as const) {
    it(`is not ${word}: the port is named apart`, () => {
      expect(() => read(word))
        .to.throw("has a port in it")
        .with.property("remedy", `name it apart: ${apart}`);
    });
  }

  for (const word of ["me@", "me@build.example:", "a b"]) {
    it(`is not ${JSON.stringify(word)}`, () => {
      expect(() => read(word)).to.throw("is not USER@HOST");
    });
  }
});
