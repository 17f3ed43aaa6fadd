DROP INDEX resource_gone;
