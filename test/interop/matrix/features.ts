// All rows of the matrix, in the order of the document.

import { extensionRows } from './extension-rows.ts';
import { pathRows } from './path-rows.ts';
import { restartRows } from './restart-rows.ts';
import { sessionRows } from './session-rows.ts';
import type { Feature } from './steps.ts';
import { transportRows } from './transport-rows.ts';

export const features: readonly Feature[] = [
  ...sessionRows,
  ...extensionRows,
  ...restartRows,
  ...transportRows,
  ...pathRows,
];
