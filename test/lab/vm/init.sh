#!/bin/busybox sh
# First process of a lab VM, inside the initrd: loads the modules, puts the host's root (9p, read-only) under a writable
# overlay, mounts the run share and hands over to guest.sh. Uses nothing but busybox.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
while read -r module; do
  $b insmod "/modules/$module" || echo "insmod $module failed"
done </modules/order

# cache=loose is right because nobody changes the lower side while the VM runs, and makes the difference between
# usable and not.
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /lower || exit 1
$b mount -t tmpfs -o mode=0755 rw /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /root || exit 1
$b mkdir -p /root/.vm/run /root/.vm/modules /root/lib/modules /root/dev /root/proc /root/sys
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none run /root/.vm/run || exit 1
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose modules /root/.vm/modules || exit 1
$b mount -o move /dev /root/dev
# A /proc carried over shows the initrd's process ids and mounts: guest.sh mounts a new one.
$b umount /proc
exec $b switch_root /root /bin/bash /.vm/run/guest.sh
