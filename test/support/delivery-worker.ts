/**
 * A worker of a tenant, in a process of its own: reads messages from standard input, one JSON line each, delivers them
 * over HTTP, and prints the index of each with whether it is done. It keeps nothing. See `test/process/delivery.test.ts`.
 */
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, client, type Headers, overHttp, storing } from './client.ts';
import { deliver, type Message, type Synced, type Target } from './tenant-system.ts';

export interface Order {
  readonly index: number;
  readonly message: Message;
  /** The server to use, and the credentials. */
  readonly url: string;
  readonly credentials: Headers;
}

export interface Report {
  readonly index: number;
  readonly isDone: boolean;
  /** The outcome of each request: status and code. */
  readonly outcomes: readonly string[];
}

function targetOf({ url, credentials }: Order, outcomes: string[]): Target {
  const { info, post } = client(overHttp(url), credentials);
  const heard = (answer: Answer): Answer => {
    const outcome = answer.body?.outcome === undefined ? '' : ` ${answer.body.outcome}`;
    outcomes.push(answer.outcome + outcome);
    return answer;
  };
  const unexpected = ({ outcome }: Answer) => new Error(`answered ${outcome}`);
  return {
    async find(name) {
      const answer = heard(await info({ exId: name }));
      if (answer.status !== 200 && answer.status !== 404) throw unexpected(answer);
      return answer.status === 200 ? answer.result.customerUrn : undefined;
    },
    async sync(name, content, sourceRevision, customerUrn) {
      const customer = { externalIdentifier: name, ...content, ...(customerUrn !== undefined && { customerUrn }) };
      const answer = heard(await post('sync', { ...storing(customer), sourceRevision }));
      if (answer.status === 200) return answer.body.outcome === 'stale' ? 'stale' : 'done';
      const refused = refusals[answer.outcome];
      if (refused === undefined) throw unexpected(answer);
      return refused;
    },
    async erase(name, sourceRevision) {
      const answer = heard(await post('delete', { externalIdentifier: name, sourceRevision }));
      if (!/^(200 SUCCESS|404 CUSTOMER_NOT_FOUND|409 STALE_REVISION)$/.test(answer.outcome)) throw unexpected(answer);
    },
  };
}

const refusals: Readonly<Record<string, Synced>> = {
  '404 CUSTOMER_NOT_FOUND': 'not found',
  '409 CUSTOMER_ALREADY_STORED': 'name taken',
  '409 USER_WITH_SAME_EMAIL_EXISTS': 'value taken',
};

async function carryOut(order: Order): Promise<Report> {
  const outcomes: string[] = [];
  try {
    return { index: order.index, isDone: await deliver(order.message, targetOf(order, outcomes)), outcomes };
  } catch {
    // No answer, or a failure: the message comes again, but not at once.
    await delay(20);
    return { index: order.index, isDone: false, outcomes: [...outcomes, 'failed'] };
  }
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin })) {
    void carryOut(JSON.parse(line)).then((report) => process.stdout.write(`${JSON.stringify(report)}\n`));
  }
}
