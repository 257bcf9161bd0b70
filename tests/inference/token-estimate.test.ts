import { expect } from "chai";
import { estimateTokens } from "../../services/inference/providers/token-estimate.ts";

describe("token estimate", () => {
  it("is zero for nothing and grows with the text", () => {
    expect(estimateTokens("")).to.equal(0);
    expect(estimateTokens("hello world")).to.equal(4);
    expect(estimateTokens("12345")).to.equal(5);
  });

  it("errs upwards: not less than a quarter of the letters, nor than the signs", () => {
    const prose = "The quick brown fox jumps over the lazy dog. ".repeat(10);
    expect(estimateTokens(prose)).to.be.at.least(prose.length / 4);
    expect(estimateTokens("{}();[]")).to.equal(7);
    expect(estimateTokens("日本語")).to.equal(6);
  });
});
