import { makeFolder } from '../adapters/files.ts';
import { unpackAlsoIn } from '../binary/addons.ts';
import type { Config } from '../config.ts';

/**
 * What `compose.ts` has, loaded when a command needs it: the others start without the storage and its addons.
 *
 * @param mayCreate whether the data folder is made where there is none: it may be the only one that can be written to
 */
export function composition({ storage, dataDir }: Config, mayCreate: boolean): Promise<typeof import('../compose.ts')> {
  if (storage !== 'memory') {
    if (mayCreate) makeFolder(dataDir);
    unpackAlsoIn(dataDir);
  }
  return import('../compose.ts');
}
