"""Where people meet Mynah: Discord and the terminal. A face parses, asks permission, calls one service and renders the answer."""
