window.__THAR_CONFIG = {
  "userInfo": {
    "accountId": "9000000000000000212",
    "userName": "keeper_ottoline",
    "displayName": "Ottoline, Gannet Skerry Light"
  },
  "archiveInfo": {
    "sizeBytes": "580270",
    "generationDate": "2026-10-04T08:00:00.000Z",
    "isPartialArchive": false,
    "maxPartSizeBytes": "53687091200"
  },
  "dataTypes": {
    "account": {
      "files": [
        {
          "fileName": "data/account.js",
          "globalName": "YTD.account.part0",
          "count": "1"
        }
      ]
    },
    "noteTweet": {
      "files": [
        {
          "fileName": "data/note-tweet.js",
          "globalName": "YTD.note_tweet.part0",
          "count": "2"
        }
      ]
    },
    "tweets": {
      "files": [
        {
          "fileName": "data/tweets.js",
          "globalName": "YTD.tweets.part0",
          "count": "755"
        }
      ]
    }
  }
}
