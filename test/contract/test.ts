import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

/** Shown if an assertion fails. */
type Message = [] | [string];

/** The test API that the contract suites use. A test of tap implements it; for `node:test` see {@link nodeTest}. */
export interface ContractTest {
  /** Adds a subtest, which may run at once or later. */
  // biome-ignore lint/suspicious/noExplicitAny: a test of the same type, which TypeScript cannot infer from overloads.
  test(name: string, run: (t: any) => Promise<void>): unknown;
  ok(value: unknown, ...message: Message): unknown;
  notOk(value: unknown, ...message: Message): unknown;
  /** Compares by `Object.is`. */
  equal(actual: unknown, expected: unknown, ...message: Message): unknown;
  not(actual: unknown, expected: unknown, ...message: Message): unknown;
  /** Compares deeply and strictly. */
  strictSame(actual: unknown, expected: unknown, ...message: Message): unknown;
  /** Matches a text with a pattern, or an object with some of its members. */
  match(actual: unknown, expected: object, ...message: Message): unknown;
  notMatch(actual: string, expected: RegExp, ...message: Message): unknown;
  rejects(promise: Promise<unknown>, error: Error): Promise<unknown>;
}

/** A test of `node:test`, as the contract suites use it. */
export interface NodeTest extends ContractTest {
  /** Runs when the test has ended. */
  teardown(run: () => void | Promise<void>): void;
}

/** Runs the contract suites with `node:test`, at the top level of a file or in `describe`. */
export const nodeTest: NodeTest = underNodeTest();

function underNodeTest(context?: TestContext): NodeTest {
  return {
    test: (name, run: (t: NodeTest) => Promise<void>) => test(name, (context) => run(underNodeTest(context))),
    teardown(run) {
      if (context === undefined) throw new Error('teardown must be called inside a test');
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
