window.YTD.account.part0 = [
  {"account": {"email": "keeper@example.org", "createdVia": "web", "username": "keeper_ottoline", "accountId": "9000000000000000212", "createdAt": "2024-10-01T06:00:00.000Z", "accountDisplayName": "Ottoline, Gannet Skerry Light"}}
]
