import { lookup } from 'node:dns/promises';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Config, requirement, type Variable } from '../config.ts';

/**
 * Checks a configuration on this machine: host name, folders and files. Creates and changes nothing. Each check is
 * repeated when the host, folder or file is used, which may have changed by then. @returns one line per problem
 */
export async function preflight({ host, storage, dataDir, masterKeyFile }: Config): Promise<string[]> {
  const problems: string[] = [];
  const report = (variable: Variable, problem: string) => problems.push(`${requirement(variable)}: ${problem}`);
  await lookup(host).catch(() => report('C2A_HOST', `${host} cannot be resolved`));
  if (storage === 'memory') return problems;
  const folder = folderProblem(resolve(dataDir));
  if (folder !== undefined) report('C2A_DATA_DIR', folder);
  if (masterKeyFile !== '') {
    const path = resolve(masterKeyFile);
    const problem = existsSync(path) ? keyFileProblem(path) : folderProblem(dirname(path), { mustExist: true });
    if (problem !== undefined) report('C2A_MASTER_KEY_FILE', problem);
  }
  return problems;
}

/** The reason why a folder cannot be written to or created; undefined if it can. */
function folderProblem(path: string, { mustExist = false } = {}): string | undefined {
  if (!existsSync(path)) {
    return mustExist || dirname(path) === path ? `${path} does not exist` : folderProblem(dirname(path));
  }
  if (!statSync(path).isDirectory()) return `${path} is not a folder`;
  return isAccessible(path, constants.W_OK | constants.X_OK) ? undefined : `${path} cannot be written to`;
}

/** 64 hexadecimal digits and a line end. */
const maxKeyFileBytes = 66;

/**
 * Why a file cannot contain the master key; undefined if it can. Does not read it. The first start fills an empty file.
 */
function keyFileProblem(path: string): string | undefined {
  const stat = statSync(path);
  if (!stat.isFile()) return `${path} is not a file`;
  if (stat.size > maxKeyFileBytes) return `${path} contains more than one line of 64 hexadecimal digits`;
  return isAccessible(path, constants.R_OK) ? undefined : `${path} cannot be read`;
}

function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
