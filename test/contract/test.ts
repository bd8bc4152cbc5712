import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

/** What to say where a claim does not hold. */
type Message = [] | [string];

/** What the contracts need of a test. A test of tap is one as it is; for `node:test` see {@link nodeTest}. */
export interface ContractTest {
  /** Adds a test of the same kind, to be run at once or later. */
  // biome-ignore lint/suspicious/noExplicitAny: it is a test of the same type, which TypeScript cannot infer from overloads.
  test(name: string, run: (t: any) => Promise<void>): unknown;
  ok(value: unknown, ...message: Message): unknown;
  notOk(value: unknown, ...message: Message): unknown;
  /** By `Object.is`. */
  equal(actual: unknown, expected: unknown, ...message: Message): unknown;
  not(actual: unknown, expected: unknown, ...message: Message): unknown;
  /** To the last member. */
  strictSame(actual: unknown, expected: unknown, ...message: Message): unknown;
  /** A text by a pattern, or an object by some of its members. */
  match(actual: unknown, expected: object, ...message: Message): unknown;
  notMatch(actual: string, expected: RegExp, ...message: Message): unknown;
  rejects(promise: Promise<unknown>, error: Error): Promise<unknown>;
}

/** A test of `node:test`, as the contracts see it. */
export interface NodeTest extends ContractTest {
  /** Runs when the test has ended. */
  teardown(run: () => void | Promise<void>): void;
}

/** Runs the contracts by `node:test`, at the top of a file or in `describe`. */
export const nodeTest: NodeTest = underNodeTest();

function underNodeTest(context?: TestContext): NodeTest {
  return {
    test: (name, run: (t: NodeTest) => Promise<void>) => test(name, (context) => run(underNodeTest(context))),
    teardown(run) {
      if (context === undefined) throw new Error('what is made outside of a test does not end with one');
      context.after(run);
    },
    ok: (value, ...message) => assert.ok(value, ...message),
    notOk: (value, ...message) => assert.ok(!value, ...message),
    equal: (actual, expected, ...message) => assert.equal(actual, expected, ...message),
    not: (actual, expected, ...message) => assert.notEqual(actual, expected, ...message),
    strictSame: (actual, expected, ...message) => assert.deepEqual(actual, expected, ...message),
    match(actual, expected, ...message) {
      if (expected instanceof RegExp) assert.match(String(actual), expected, ...message);
      else assert.partialDeepStrictEqual(actual, expected, ...message);
    },
    notMatch: (actual, expected, ...message) => assert.doesNotMatch(actual, expected, ...message),
    rejects: (promise, { name, message }) => assert.rejects(promise, { name, message }),
  };
}
