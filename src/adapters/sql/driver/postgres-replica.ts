import type { Session, Sessions } from './postgres-pool.ts';

/** How often the primary and the replica are asked whether one waits for the other. */
const checkMs = 1_000;

export interface Replica {
  /** Sessions of the replica, while whatever was acknowledged is certain to be there; else undefined. */
  sessions(): Sessions | undefined;
  close(): Promise<void>;
}

/**
 * A replica that is read from only while every commit waits until it is visible there.
 *
 * We commit with `synchronous_commit = remote_apply`. That makes the primary wait for the standbys in its
 * `synchronous_standby_names`; where these must *all* confirm, and the replica is one of them (by its `cluster_name`, which is
 * how a standby introduces itself), nobody has been told of anything that the replica does not show yet, whichever process was
 * told. Where that is not so, or cannot be found out, the primary is read.
 */
export function watchReplica(primary: Sessions, replica: Sessions): Replica {
  let isCurrent = false;
  let checking: Promise<void> | undefined;

  async function check(): Promise<void> {
    const [names, name] = await Promise.all([
      primary.borrow((session) => setting(session, 'synchronous_standby_names')),
      replica.borrow(async (session) => {
        const [row] = await session.query({ text: 'select pg_is_in_recovery() as standby' }, checkMs);
        // One that was promoted goes its own way.
        return row?.standby === true ? setting(session, 'cluster_name') : '';
      }),
    ]);
    isCurrent = mustAllConfirm(names, name);
  }

  function tick(): void {
    if (checking !== undefined) {
      // One that takes so long may tell what is not so any more.
      isCurrent = false;
      return;
    }
    checking = check()
      .catch(() => {
        isCurrent = false;
      })
      .finally(() => {
        checking = undefined;
      });
  }
  tick();
  const timer = setInterval(tick, checkMs).unref();

  return {
    sessions: () => (isCurrent ? replica : undefined),
    async close() {
      clearInterval(timer);
      await checking;
      await replica.close();
    },
  };
}

async function setting(session: Session, name: string): Promise<string> {
  const [row] = await session.query({ text: `select current_setting('${name}') as value` }, checkMs);
  return String(row?.value);
}

/**
 * Whether a commit waits for this standby, whatever the others do: `synchronous_standby_names` is `FIRST n (a, b)`,
 * `ANY n (a, b)`, `n (a, b)` or `a, b`, which means `FIRST 1`.
 */
export function mustAllConfirm(names: string, standby: string): boolean {
  const [, count = '1', list = names] = /^\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\((.*)\)\s*$/is.exec(names) ?? [];
  const standbys = list.split(',').map((name) =>
    name
      .trim()
      .replace(/^"(.*)"$/, '$1')
      .toLowerCase(),
  );
  return standby !== '' && Number(count) === standbys.length && standbys.includes(standby.toLowerCase());
}
