import type { PipelinedPool } from './postgres-pipeline.ts';

/** How often the primary and the replica are checked. */
const checkMs = 1_000;

export interface Replica {
  /** The sessions of the replica while it certainly has every acknowledged write; otherwise undefined. */
  sessions(): PipelinedPool | undefined;
  /** Ends the checks. */
  close(): Promise<void>;
}

/**
 * Reads from a replica only while every commit waits until it is visible there.
 *
 * We commit with `synchronous_commit = remote_apply`: the primary waits for the standbys in its
 * `synchronous_standby_names`. If *all* of these must confirm, and the replica is one of them (a standby identifies
 * itself by its `cluster_name`), then the replica shows every acknowledged write, of any process. If either condition
 * fails or cannot be checked, reads go to the primary.
 */
export function watchReplica(primary: PipelinedPool, replica: PipelinedPool): Replica {
  let isCurrent = false;
  let checking: Promise<void> | undefined;

  async function check(): Promise<void> {
    const [names, name] = await Promise.all([
      read(primary, `select current_setting('synchronous_standby_names') as value`),
      // A promoted standby no longer follows the primary, so it must not be read from.
      read(replica, `select current_setting('cluster_name') as value where pg_is_in_recovery()`),
    ]);
    isCurrent = mustAllConfirm(names, name);
  }

  function tick(): void {
    if (checking !== undefined) {
      // The check that was started last is not finished, so the result of an earlier check may be outdated.
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
    },
  };
}

const read = (pool: PipelinedPool, sql: string): Promise<string> =>
  pool.borrow(async (session) => {
    const [row] = await session.query(sql, checkMs);
    return String(row?.value ?? '');
  });

/**
 * Whether every commit waits for this standby: `synchronous_standby_names` must name it, and all the named standbys
 * must confirm. Its forms: `FIRST n (a, b)`, `ANY n (a, b)`, `n (a, b)`, and `a, b`, short for `FIRST 1 (a, b)`.
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
