import { makeFolder } from '../adapters/files.ts';
import { unpackAlsoIn } from '../binary/addons.ts';
import type { Config } from '../config.ts';

/**
 * Imports `compose.ts` on demand: commands that need no storage start faster without it and its addons.
 *
 * @param mayCreate whether to create the data folder, which may be the only folder where addons can be unpacked
 */
export function loadCompose({ storage, dataDir }: Config, mayCreate: boolean): Promise<typeof import('../compose.ts')> {
  if (storage !== 'memory') {
    if (mayCreate) makeFolder(dataDir);
    unpackAlsoIn(dataDir);
  }
  return import('../compose.ts');
}
