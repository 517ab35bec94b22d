BEGIN TRANSACTION;
CREATE TABLE binding(
        id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, external_id TEXT, email TEXT, profile_id TEXT,
        phone_number TEXT, verified_at REAL, version INTEGER NOT NULL);
INSERT INTO "binding" VALUES(1,'SiMuLa','ann-1','ann@new.test','01SAFEK0000000000000000001','+12025550199',1.79589221979666852947e+09,3);
INSERT INTO "binding" VALUES(2,'SiMuLa','bob-20','bob@shop.test','01SAFEK0000000000000000002',NULL,1.79589221981861543652e+09,2);
INSERT INTO "binding" VALUES(3,'SiMuLa',NULL,'cat@shop.test','01SAFEK0000000000000000003',NULL,1.79589221990380406377e+09,1);
INSERT INTO "binding" VALUES(4,'SiMuLa','dan-4','dan@shop.test',NULL,NULL,NULL,1);
INSERT INTO "binding" VALUES(6,'SiMuLa','kim-6','kim@shop.test','01SAFEK0000000000000000006',NULL,1.79589222000365948675e+09,2);
INSERT INTO "binding" VALUES(7,'SiMuLa','jon-7','jon@shop.test','01J0000000000000000000GONE',NULL,NULL,2);
INSERT INTO "binding" VALUES(8,'SiMuLa','fay-9','fay@shop.test','01SAFEK0000000000000000008',NULL,1.79589222003524613376e+09,1);
INSERT INTO "binding" VALUES(9,'SiMuLa','eve-8','eve@shop.test','01SAFEK0000000000000000009',NULL,1.7958922200449295044e+09,1);
INSERT INTO "binding" VALUES(10,'SiMuLa','gil-10','gil@shop.test','01SAFEK000000000000000000A',NULL,1.79589222005945134156e+09,1);
CREATE TABLE journal(
        number INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, at REAL NOT NULL, binding INTEGER NOT NULL,
        profile_id TEXT, external_id TEXT, verb TEXT NOT NULL, old TEXT, new TEXT);
INSERT INTO "journal" VALUES(1,'SiMuLa',1.79589221978382396691e+09,1,'01SAFEK0000000000000000001','ann-1','change_email','ann@shop.test','ann@new.test');
INSERT INTO "journal" VALUES(2,'SiMuLa',1.79589221981861543652e+09,2,'01SAFEK0000000000000000002','bob-20','change_external_id','bob-2','bob-20');
INSERT INTO "journal" VALUES(3,'SiMuLa',1.79589222000365948675e+09,6,'01SAFEK0000000000000000006','kim-6','merge','kim@old.test','kim@shop.test');
CREATE TABLE lease(
        token INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, identifiers TEXT NOT NULL,
        intent TEXT NOT NULL, expires REAL NOT NULL);
INSERT INTO "lease" VALUES(14,'SiMuLa','[["email", "eve@new.test"], ["email", "eve@shop.test"], ["external_id", "eve-8"], ["profile_id", "01SAFEK0000000000000000009"]]','{"verb": "change", "external_id": "eve-8", "email": "eve@shop.test", "profile_id": "01SAFEK0000000000000000009", "new_email": "eve@new.test"} 	  	  	   		 							       		   			 	   	  	 		 	  	  	  	 		  	 		  			    	        					 			  				    	 	   			 				 	 	 			 ',1.79589223632031583788e+09);
INSERT INTO "lease" VALUES(15,'SiMuLa','[["email", "fay@shop.test"], ["external_id", "fay-9"], ["profile_id", "01SAFEK0000000000000000008"]]','{"verb": "erase", "external_id": "fay-9", "email": "fay@shop.test", "profile_id": "01SAFEK0000000000000000008", "new_external_id": "fay-9", "new_email": "fay@shop.test"}  		 	   		 				   	 		   	      	  	  	 		      	  	 		 					 		 	 		 	   	          	    		 			 			 	 	  		 	 	 			 	   	 	   ',1.7958922363332409859e+09);
INSERT INTO "lease" VALUES(16,'SiMuLa','[["email", "gil@old.test"], ["email", "gil@shop.test"], ["external_id", "gil-10"], ["profile_id", "01SAFEK000000000000000000A"], ["profile_id", "01SAFEK000000000000000000B"]]','{"verb": "merge", "external_id": "gil-10", "email": "gil@shop.test", "profile_id": "01SAFEK000000000000000000A", "source_id": "01SAFEK000000000000000000B", "source_email": "gil@old.test"}	  	 			 			 	  	 			  	 	  	 		  		  								 	 	    	       	 	  		 	   	 	  		 		  		      			  	   				  	   				 	 	  	    ',1.79589223635696911812e+09);
INSERT INTO "lease" VALUES(17,'SiMuLa','[["email", "hal@shop.test"], ["external_id", "hal-11"]]','{"verb": "contact", "external_id": "hal-11", "email": "hal@shop.test"}				 		 		    	 	  				   		 	 			  		 	 		 	 		 	    	 	  	 	 		   		   	 	 	 	  	   		 		   		   	 			   		   	  				   			 		',1.79589223636380767822e+09);
CREATE TABLE leased(
        account TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, token INTEGER NOT NULL,
        PRIMARY KEY(account, kind, value)) WITHOUT ROWID
    ;
INSERT INTO "leased" VALUES('SiMuLa','email','eve@new.test',14);
INSERT INTO "leased" VALUES('SiMuLa','email','eve@shop.test',14);
INSERT INTO "leased" VALUES('SiMuLa','email','fay@shop.test',15);
INSERT INTO "leased" VALUES('SiMuLa','email','gil@old.test',16);
INSERT INTO "leased" VALUES('SiMuLa','email','gil@shop.test',16);
INSERT INTO "leased" VALUES('SiMuLa','email','hal@shop.test',17);
INSERT INTO "leased" VALUES('SiMuLa','external_id','eve-8',14);
INSERT INTO "leased" VALUES('SiMuLa','external_id','fay-9',15);
INSERT INTO "leased" VALUES('SiMuLa','external_id','gil-10',16);
INSERT INTO "leased" VALUES('SiMuLa','external_id','hal-11',17);
INSERT INTO "leased" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000008',15);
INSERT INTO "leased" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000009',14);
INSERT INTO "leased" VALUES('SiMuLa','profile_id','01SAFEK000000000000000000A',16);
INSERT INTO "leased" VALUES('SiMuLa','profile_id','01SAFEK000000000000000000B',16);
CREATE TABLE note(
        account TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(account, name)) WITHOUT ROWID
    ;
INSERT INTO "note" VALUES('','account:536638e8d52e043e','SiMuLa');
INSERT INTO "note" VALUES('SiMuLa','erased:0e6e59a77afa2b6a15856474cfe489d1f33d11b41ea890f3c8fd441e5e22a258','1');
INSERT INTO "note" VALUES('SiMuLa','erased:92fa6649f44d25dfb63147448e22e2d4dbb8949a6d1526e5bb7495fca7d3bf33','1');
INSERT INTO "note" VALUES('SiMuLa','missing:01J0000000000000000000GONE','1795892220.0116668 2');
INSERT INTO "note" VALUES('SiMuLa','remembered','1795892220.1236918');
CREATE TABLE place(
        account TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, binding INTEGER NOT NULL, retired_at REAL,
        PRIMARY KEY(account, kind, value)) WITHOUT ROWID
    ;
INSERT INTO "place" VALUES('SiMuLa','email','ann@new.test',1,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','ann@shop.test',1,1.79589221978382396691e+09);
INSERT INTO "place" VALUES('SiMuLa','email','bob@shop.test',2,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','cat@shop.test',3,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','dan@shop.test',4,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','eve@shop.test',9,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','fay@shop.test',8,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','gil@shop.test',10,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','jon@shop.test',7,NULL);
INSERT INTO "place" VALUES('SiMuLa','email','kim@old.test',6,1.79589222000365948675e+09);
INSERT INTO "place" VALUES('SiMuLa','email','kim@shop.test',6,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','ann-1',1,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','bob-2',2,1.79589221981861543652e+09);
INSERT INTO "place" VALUES('SiMuLa','external_id','bob-20',2,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','dan-4',4,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','eve-8',9,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','fay-9',8,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','gil-10',10,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','jon-7',7,NULL);
INSERT INTO "place" VALUES('SiMuLa','external_id','kim-6',6,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01J0000000000000000000GONE',7,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000001',1,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000002',2,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000003',3,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000006',6,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000008',8,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK0000000000000000009',9,NULL);
INSERT INTO "place" VALUES('SiMuLa','profile_id','01SAFEK000000000000000000A',10,NULL);
CREATE INDEX binding_of_account ON binding(account);
CREATE INDEX place_retired ON place(binding) WHERE retired_at IS NOT NULL;
CREATE INDEX journal_of_account ON journal(account);
CREATE INDEX journal_of_binding ON journal(binding, at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('lease',17);
INSERT INTO "sqlite_sequence" VALUES('binding',10);
INSERT INTO "sqlite_sequence" VALUES('journal',3);
COMMIT;
PRAGMA application_id = 1526614810;
PRAGMA user_version = 1;
