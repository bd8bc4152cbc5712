import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Where the tests of this checkout find what they share: one run at a time. */
export const shared = join(
  tmpdir(),
  `c2a-tests-${Buffer.from(resolve(import.meta.dirname))
    .toString('base64url')
    .slice(-40)}.json`,
);
