import { type Command, CommandError, exactly, storageOptions } from './run.ts';

const options = storageOptions;

/** Copies of the files, and their keys. */
export const storageCommands: readonly Command[] = [
  {
    name: 'backup',
    usage: '<file>',
    about: 'Write a consistent copy of the records to a new file, while the server runs. It holds no key.',
    options,
    async run(context) {
      const [file] = exactly(1, context, 'a file to write');
      const { maintenance } = await context.open();
      await maintenance.backup(file as string);
      context.print({ file }, `the records are in ${file}; they can be read with the keys of this deployment alone`);
    },
  },
  {
    name: 'backup-keys',
    usage: '<file>',
    about: 'Write a copy of the keys and the ledger of erasures, in place of the previous copy, which is overwritten.',
    options,
    async run(context) {
      const [file] = exactly(1, context, 'a file to write');
      const { maintenance } = await context.open();
      await maintenance.backupKeys(file as string);
      context.print({ file }, `the keys are in ${file}; keep no older copy, or who was erased can be read again`);
    },
  },
  {
    name: 'restore',
    usage: '<file>',
    about: 'Put a backup in place of the records, with the server stopped, and erase again who was erased since.',
    options,
    async run(context) {
      const [file] = exactly(1, context, 'the file of a backup');
      const { keptKeys } = await context.restore(file as string);
      const { maintenance } = await context.open();
      const { erasedAgain } = maintenance;
      const unreadable = await maintenance.countUnreadable();
      context.print(
        { file, erasedAgain, unreadable, keptKeys },
        `restored; ${erasedAgain} erased again; ${unreadable} cannot be read with these keys; tenants and API keys are ${
          keptKeys ? 'those of now' : 'those of the backup: revoke again what was revoked since'
        }`,
      );
      if (unreadable > 0) throw new CommandError('the backup holds records of other keys: restore those as well');
    },
  },
  {
    name: 'keys rotate-master',
    usage: '',
    about: 'Wrap the keys by a new master key, which takes the place of the old one in its file. Servers go on.',
    options,
    async run(context) {
      const { maintenance } = await context.open();
      await maintenance.rotateMasterKey();
      context.print({ rotated: true }, 'the master key is a new one; copy its file to where you keep it');
    },
  },
];
