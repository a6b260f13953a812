// What every world's files must do.

import { expect } from 'chai';
import { bytesOf, type Case, codeOf, text } from './bench.ts';

export const filesCases: readonly Case[] = [
  {
    title: 'what was put in place is read back, and replacing is whole',
    async run({ world: { files }, folder }) {
      const path = `${folder}/a`;
      await files.replace(path, bytesOf('first, and long'));
      await files.replace(path, bytesOf('second'));
      expect(text(await files.read(path, 100))).to.equal('second');
      expect((await files.stat(path)).size).to.equal(6);
    },
  },
  {
    title: 'missing folders are made',
    async run({ world: { files }, folder }) {
      const path = `${folder}/x/y/z`;
      await files.replace(path, bytesOf('deep'));
      expect(text(await files.read(path, 100))).to.equal('deep');
    },
  },
  {
    title: 'replacing gives the name a new inode',
    async run({ world: { files }, folder }) {
      const path = `${folder}/inode`;
      await files.replace(path, bytesOf('1'));
      const before = await files.stat(path);
      await files.replace(path, bytesOf('2'));
      expect((await files.stat(path)).inode).to.not.equal(before.inode);
    },
  },
  {
    title: 'a file that is not there is ENOENT, for read and stat',
    async run({ world: { files }, folder }) {
      expect(await codeOf(files.read(`${folder}/none`, 10))).to.equal('ENOENT');
      expect(await codeOf(files.stat(`${folder}/none`))).to.equal('ENOENT');
    },
  },
  {
    title: 'a file longer than the limit is EFBIG, one just as long is read',
    async run({ world: { files }, folder }) {
      const path = `${folder}/ten`;
      await files.replace(path, bytesOf('0123456789'));
      expect(await codeOf(files.read(path, 9))).to.equal('EFBIG');
      expect((await files.read(path, 10)).length).to.equal(10);
    },
  },
  {
    title: 'an empty file is read as nothing',
    async run({ world: { files }, folder }) {
      await files.replace(`${folder}/empty`, new Uint8Array());
      expect((await files.read(`${folder}/empty`, 10)).length).to.equal(0);
    },
  },
];
