"""Everything that touches the machine: UDP sockets, the TUN device, netlink, name resolution, the driver.

Modules here own file descriptors, and raise `DeviceError` (with a remedy) where the kernel refuses something at start.
Once running, a refused packet is counted, never raised. Nothing here knows a protocol above IP and UDP headers.
"""
