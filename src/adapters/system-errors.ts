/** Errors of the operating system in words: what is wrong, with which path or address, and what to do. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { getSystemErrorMap } from 'node:util';

/** The members of Node's system errors, of which files have a path, connections an address, and look-ups a host name. */
interface Raw extends NodeJS.ErrnoException {
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
}

/** By code: the sentence for a path or an address. */
const sentences: Readonly<Record<string, (at: string, syscall: string | undefined) => string>> = {
  EEXIST: (path) => `${path} already exists; choose another name`,
  ENOENT: missing,
  ENOTDIR: (path) => `a part of ${path} is a file, not a folder; choose another path`,
  EISDIR: (path) => `${path} is a folder; name a file`,
  EACCES: notAllowed,
  EPERM: notAllowed,
  EROFS: (path) => `${path} is on a read-only file system; choose another path`,
  EADDRINUSE: (address) => `another process listens on ${address}; stop it, or choose another port`,
  EADDRNOTAVAIL: (address) => `${address} is not an address of this machine`,
  ECONNREFUSED: (address) => `${address} refuses connections; start the server, or correct the address`,
  ENOTFOUND: (host) => `the host ${host} cannot be resolved; correct its name`,
};

/** SQLite has a code of its own. */
const diskFullCodes = ['ENOSPC', 'EDQUOT', 'SQLITE_FULL'];

function missing(path: string, syscall: string | undefined): string {
  if (!existsSync(dirname(path))) return `the folder ${dirname(path)} does not exist; create it`;
  return syscall === 'mkdir' ? `${path} cannot be created; choose another path` : `${path} does not exist`;
}

function notAllowed(at: string, syscall: string | undefined): string {
  return syscall === 'listen'
    ? `this user may not listen on ${at}; choose a port above 1023`
    : `this user may not access ${at}; change the permissions, or run this as another user`;
}

/**
 * The sentence for an error of the operating system, or for an error that it caused. Undefined for any other error.
 *
 * @param path named in place of the path in the error, which the error of a read lacks
 */
export function systemProblem(error: unknown, path?: string): string | undefined {
  const raw = rawError(error);
  if (raw?.code === undefined) return undefined;
  const { code, errno, syscall, address, port, hostname } = raw;
  if (diskFullCodes.includes(code)) return 'the disk is full; free some space';
  const listener = address === undefined ? undefined : [address, port].filter((part) => part !== undefined).join(':');
  const named = path ?? raw.path ?? hostname ?? listener;
  const at = named === '' ? 'the empty path' : named;
  const sentence = sentences[code];
  if (at !== undefined && sentence !== undefined) return sentence(at, syscall);
  if (errno === undefined) return undefined;
  return [at, getSystemErrorMap().get(errno)?.[1] ?? code].filter((part) => part !== undefined).join(': ');
}

/** The error or its nearest cause that the operating system gave, or that means a full disk. */
function rawError(error: unknown): Raw | undefined {
  if (!(error instanceof Error)) return undefined;
  // Of a name with several addresses, the errors of all addresses; the first one stands for all.
  if (error instanceof AggregateError) return rawError(error.errors[0]);
  const raw: Raw = error;
  const isSystem = raw.code !== undefined && (raw.errno !== undefined || diskFullCodes.includes(raw.code));
  return isSystem ? raw : rawError(error.cause);
}
