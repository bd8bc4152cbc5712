import { makeFolder } from '../adapters/files.ts';
import { inWords } from '../adapters/system-errors.ts';
import { unpackAlsoIn } from '../binary/addons.ts';
import { type Config, settingName } from '../config.ts';

/**
 * Imports `compose.ts` on demand: commands that need no storage start faster without it and its addons.
 *
 * @param mayCreate whether to create the data folder, which may be the only folder where addons can be unpacked
 */
export function loadCompose({ storage, dataDir }: Config, mayCreate: boolean): Promise<typeof import('../compose.ts')> {
  if (storage !== 'memory') {
    try {
      if (mayCreate) makeFolder(dataDir);
    } catch (error) {
      inWords(settingName('C2A_DATA_DIR'))(error);
    }
    unpackAlsoIn(dataDir);
  }
  return import('../compose.ts');
}
