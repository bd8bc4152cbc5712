import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The commit that a folder is a checkout of, with `-dirty` where it was changed since; undefined where it is none. */
export function commitOf(folder: string): string | undefined {
  const repository = join(folder, '.git');
  if (!existsSync(repository)) return undefined;
  const words = ['describe', '--always', '--abbrev=40', '--exclude=*', '--dirty'];
  try {
    return execFileSync('git', [`--git-dir=${repository}`, `--work-tree=${folder}`, ...words], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    // There is no git here, or it does not trust the folder.
    return undefined;
  }
}
