import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { CircuitBreaker } from "../../services/inference/routing/circuit-breaker.ts";

describe("circuit breaker", () => {
  let clock: TestClock;
  let breaker: CircuitBreaker;

  beforeEach(() => {
    clock = new TestClock();
    breaker = new CircuitBreaker({ clock, failures: 3, openMs: 1_000 });
  });

  function fail(times: number): void {
    for (let i = 0; i < times; i++) {
      expect(breaker.tryEnter()).to.equal(true);
      breaker.failed();
    }
  }

  it("opens after so many failures in a row", () => {
    fail(2);
    expect(breaker.state).to.equal("closed");
    fail(1);
    expect(breaker.state).to.equal("open");
    expect(breaker.tryEnter()).to.equal(false);
    expect(breaker.retryAfterMs).to.equal(1_000);
  });

  it("forgets failures at a success", () => {
    fail(2);
    breaker.succeeded();
    fail(2);
    expect(breaker.state).to.equal("closed");
  });

  it("lets one request try, and closes or opens by it", () => {
    fail(3);
    clock.advance(1_000);
    expect(breaker.state).to.equal("half-open");
    expect(breaker.tryEnter()).to.equal(true);
    expect(breaker.tryEnter()).to.equal(false);
    breaker.failed();
    expect(breaker.state).to.equal("open");
    clock.advance(1_000);
    expect(breaker.tryEnter()).to.equal(true);
    breaker.succeeded();
    expect(breaker.state).to.equal("closed");
  });

  it("gives the try back when it told nothing", () => {
    fail(3);
    clock.advance(1_000);
    expect(breaker.tryEnter()).to.equal(true);
    breaker.released();
    expect(breaker.state).to.equal("half-open");
  });
});
