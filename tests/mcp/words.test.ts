import { expect } from "chai";
import fc from "fast-check";
import { hiddenWords, namesIn, queryTerms } from "../../services/mcp/documents/words.ts";

describe("words", () => {
  const terms = (query: string) => queryTerms(query).map(({ words }) => words.join(" "));

  it("hide in identifiers", () => {
    expect(hiddenWords("parseHTTPUrl2 idle_timeout_ms plain")).to.equal(
      "parse http url2 idletimeoutms",
    );
  });

  it("of a query are its words, its identifiers as phrases, and their parts", () => {
    expect(terms("how does maxRetry work in idle_timeout")).to.have.members([
      "idle timeout",
      "idletimeout",
      "maxretry",
      "timeout",
      "retry",
      "idle",
      "max",
      "work",
    ]);
  });

  it("of a query of stop words are these", () => {
    expect(terms("to be or not to be")).to.have.members(["to", "be", "or", "not"]);
  });

  it("are only letters and digits, and few, whatever the query is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 2_000 }), (query) => {
        const found = queryTerms(query);
        expect(found.length).to.be.at.most(48);
        for (const word of found.flatMap(({ words }) => words)) {
          expect(word).to.match(/^[\p{L}\p{N}\p{M}]+$/u);
        }
      }),
    );
  });

  it("that can only be names are seen as such", () => {
    expect(namesIn("where is openSqlite called from services/mesh?")).to.deep.equal([
      "openSqlite",
      "services/mesh?",
    ]);
    expect(namesIn("migrate")).to.deep.equal(["migrate"]);
    expect(namesIn("how does it migrate")).to.deep.equal([]);
  });
});
