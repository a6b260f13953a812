#!/bin/bash
# Process 1 of a lab VM after init.sh: mounts what programs expect, runs the command that the host left on the run share
# as root, writes its exit code there and ends the machine. Output goes to the virtio port, so that kernel messages
# (which go to the console) never mix with it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc # first: ps, ip netns, sysctl and node fail oddly without
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=0755 run /run
# Writes to the root go to memory anyway: a checkout below one of these must stay visible.
cwd=$(</.vm/run/cwd)
case $cwd/ in /tmp/*) ;; *) mount -t tmpfs -o mode=1777 tmp /tmp ;; esac
case $cwd/ in /var/tmp/*) ;; *) mount -t tmpfs -o mode=1777 tmp /var/tmp ;; esac
mkdir -p /run/lock /run/netns
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind /.vm/modules /lib/modules # modprobe and the kernel's own loading work
for processor in /sys/devices/system/cpu/cpu[0-9]*/online; do
  if [ "$(<"$processor")" = 0 ]; then echo 1 >"$processor"; fi
done
ip link set lo up
hostname lab

port=
for name in /sys/class/virtio-ports/*/name; do
  if [ "$(<"$name")" = output ]; then port=/dev/$(basename "$(dirname "$name")"); fi
done
exec >"$port" 2>&1 </dev/null

mapfile -d '' -t environment </.vm/run/environment
mapfile -d '' -t command </.vm/run/command
export VM_OUT=/.vm/run/out "${environment[@]}"
: >/.vm/run/began
cd "$cwd" && "${command[@]}"
code=$?
echo "$code" >/.vm/run/exit.part
mv /.vm/run/exit.part /.vm/run/exit
sync -f /.vm/run
busybox reboot -f # QEMU runs with -no-reboot
