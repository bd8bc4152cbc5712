import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** The file with the URL of the shared PostgreSQL server. One per checkout, so only one test run at a time uses it. */
export const shared = join(
  tmpdir(),
  `c2a-tests-${Buffer.from(resolve(import.meta.dirname))
    .toString('base64url')
    .slice(-40)}.json`,
);
