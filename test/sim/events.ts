// Everything that can happen to a simulated site: operators, deploys, broken hardware, other people's tools. An event that
// lasts answers with how it ends. Each counts itself in the tally by kind and place when it begins; faults that need the
// daemon to run into them count where they are met (kernel.ts, network.ts …).

import {
  ambushKernel,
  breakDirector,
  breakKernel,
  crash,
  editConfig,
  fillDisk,
  jumpClock,
  loseConfig,
  pause,
  powerCut,
  reload,
  stranger,
  terminate,
  vandal,
  wedge,
} from './director-events.ts';
import type { EventKind } from './event.ts';
import {
  blip,
  compactSource,
  breakAll,
  breakServer,
  cutPath,
  editPool,
  failResolver,
  failRouter,
  failSource,
  loseDatagrams,
  moveHost,
} from './site-events.ts';

export const EVENTS: readonly EventKind[] = [
  breakServer,
  breakAll,
  blip,
  cutPath,
  moveHost,
  failResolver,
  editPool,
  failSource,
  compactSource,
  reload,
  editConfig,
  loseConfig,
  crash,
  terminate,
  pause,
  powerCut,
  breakKernel,
  ambushKernel,
  breakDirector,
  fillDisk,
  jumpClock,
  vandal,
  stranger,
  failRouter,
  wedge,
  loseDatagrams,
];
