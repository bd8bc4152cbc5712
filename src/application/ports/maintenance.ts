/** Operations on the files of a running deployment. Every method throws where the storage has no files. */
export interface Maintenance {
  /** Writes a consistent backup of the records, which contains no key, to a new file. Throws where the file exists. */
  backup(file: string): Promise<void>;
  /** Writes a backup of the keys and the erasure log. Replaces an earlier backup, whose bytes are overwritten. */
  backupKeys(file: string): Promise<void>;
  /** Rewrites the records' file so that no deleted bytes remain in unused pages. Writers wait, and time out after 5 s. */
  compact(): Promise<void>;
  /** Wraps the root keys with a new master key, which replaces the old one in its file. */
  rotateMasterKey(): Promise<void>;
}

/** The result of a restore. */
export interface Restored {
  /** Customers that the backup contained unerased and that were erased again. */
  readonly erasedAgain: number;
  /** Records that cannot be decrypted with the present keys. */
  readonly unreadable: number;
  /** Whether tenants and API keys are the present ones; else they are the backup's. */
  readonly keptKeys: boolean;
  /** The file that holds what was replaced; absent where there was nothing. */
  readonly replaced?: string | undefined;
}
